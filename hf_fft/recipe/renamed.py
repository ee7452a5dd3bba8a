"""What old and foreign names are called now, and which of HF's own fields a recipe does not take.

Two tables of words. People come with recipes for transformers 4, for other trainers, and with fields of
TrainingArguments that hf_fft decides itself; each of them is told what to write instead, wherever in the recipe the
name stands.
"""

from __future__ import annotations

PUBLISHING = (
    'it stands at the top of the recipe: "hub": {"repository": "user/name", "private": true} publishes a finished run'
)
BEST_MODEL = (
    "the best by the task's primary metric on validation is kept by itself; task.primary_metric says which metric"
)
DOORS = "every run trains, and scores validation and test; leave it out"
PREDICTIONS = "hf_fft collects the predictions itself, for metrics and for predictions.jsonl; leave it out"
COLUMNS = "the task knows its columns; see task.text_column, task.label_column"
HALF_WEIGHTS = (
    "it casts the model itself, so half-precision weights would be saved; training.bf16 or training.fp16 is enough"
)

# Fields of TrainingArguments (transformers 5.23) that a recipe refuses, with the reason and what to do.
REFUSED: dict[str, str] = {
    "output_dir": 'it stands at the top of the recipe, not under training: "output_dir"',
    "seed": 'it stands at the top of the recipe, not under training: "seed"',
    "data_seed": "the order of rows follows seed, at the top of the recipe; leave it out",
    "hub_token": "a recipe holds no secrets; set HF_TOKEN or run `hf auth login`",
    "push_to_hub": PUBLISHING,
    "hub_model_id": PUBLISHING,
    "hub_strategy": PUBLISHING,
    "hub_private_repo": PUBLISHING,
    "hub_always_push": PUBLISHING,
    "hub_revision": PUBLISHING,
    "load_best_model_at_end": BEST_MODEL,
    "metric_for_best_model": BEST_MODEL,
    "greater_is_better": BEST_MODEL,
    "do_train": DOORS,
    "do_eval": DOORS,
    "do_predict": DOORS,
    "resume_from_checkpoint": "a run starts at its beginning; leave it out",
    "local_rank": "torchrun or `accelerate launch` sets it for each process; leave it out",
    "label_names": COLUMNS,
    "remove_unused_columns": COLUMNS,
    "include_for_metrics": PREDICTIONS,
    "batch_eval_metrics": PREDICTIONS,
    "prediction_loss_only": PREDICTIONS,
    "eval_do_concat_batches": PREDICTIONS,
    "eval_use_gather_object": PREDICTIONS,
    "auto_find_batch_size": "it restarts with weights already trained; set training.per_device_train_batch_size, and "
    "training.gradient_accumulation_steps to keep the batch",
    "dataloader_drop_last": "the last rows of an epoch count too, and those of validation and test; leave it out",
    "average_tokens_across_devices": "the loss is exact across processes only with it; it is always on; leave it out",
    "fp16_full_eval": HALF_WEIGHTS,
    "bf16_full_eval": HALF_WEIGHTS,
    "gradient_checkpointing": "it is called training.activation_checkpointing now",
    "gradient_checkpointing_kwargs": "it is called training.activation_checkpointing_kwargs now",
    "parallelism_config": "it is a Python object, not data; start with `accelerate launch` and its own config file",
}

AUTOMATIC = "transformers 5 does this by itself; leave it out"
LABELS = "labels are counted in the data; task.labels names them"
MODEL_DTYPE = "weights are trained in float32; training.bf16 or training.fp16 chooses mixed precision"
TENSORBOARD = (
    "removed from transformers; the environment variable TENSORBOARD_LOGGING_DIR says where TensorBoard writes"
)
TORCH_AMP = "removed from transformers: torch.amp is the only way; training.fp16 or training.bf16 turns it on"
MODEL_CONFIG = 'a field of the model\'s own config; "model": {"name": ..., "config": {...}} changes it'
TOKENIZER = "it is called model.tokenizer"


def _training(name: str) -> str:
    return f"it is called training.{name}"


# Names of transformers 4 and of other trainers, with what they are called in a recipe.
RENAMED: dict[str, str] = {
    "evaluation_strategy": _training("eval_strategy"),
    "warmup_ratio": "it is called training.warmup_steps: a number below 1 is a share of all steps",
    "warmup": "it is called training.warmup_steps: a number below 1 is a share of all steps",
    "group_by_length": 'it is called training.train_sampling_strategy: "group_by_length"',
    "batch_size": _training("per_device_train_batch_size"),
    "train_batch_size": _training("per_device_train_batch_size"),
    "per_gpu_train_batch_size": _training("per_device_train_batch_size"),
    "eval_batch_size": _training("per_device_eval_batch_size"),
    "per_gpu_eval_batch_size": _training("per_device_eval_batch_size"),
    "num_epochs": _training("num_train_epochs"),
    "epochs": _training("num_train_epochs"),
    "n_epochs": _training("num_train_epochs"),
    "total_steps": _training("max_steps"),
    "num_train_steps": _training("max_steps"),
    "lr": _training("learning_rate"),
    "scheduler_type": _training("lr_scheduler_type"),
    "lr_scheduler": _training("lr_scheduler_type"),
    "scheduler": _training("lr_scheduler_type"),
    "optimizer": _training("optim"),
    "label_smoothing": _training("label_smoothing_factor"),
    "gradient_clipping": _training("max_grad_norm"),
    "clip_grad": _training("max_grad_norm"),
    "max_gradient_norm": _training("max_grad_norm"),
    "accumulation_steps": _training("gradient_accumulation_steps"),
    "grad_accum": _training("gradient_accumulation_steps"),
    "gradient_accumulation": _training("gradient_accumulation_steps"),
    "use_fp16": _training("fp16"),
    "use_bf16": _training("bf16"),
    "mixed_precision": "training.bf16 or training.fp16, true or false, says it",
    "num_workers": _training("dataloader_num_workers"),
    "use_wandb": 'it is called training.report_to: "wandb"',
    "adafactor": 'it is called training.optim: "adafactor"',
    "no_cuda": _training("use_cpu"),
    "include_tokens_per_second": _training("include_num_input_tokens_seen"),
    "include_inputs_for_metrics": PREDICTIONS,
    "use_mps_device": AUTOMATIC,
    "save_safetensors": AUTOMATIC,
    "use_ipex": AUTOMATIC,
    "past_index": AUTOMATIC,
    "fp16_opt_level": TORCH_AMP,
    "fp16_backend": TORCH_AMP,
    "half_precision_backend": TORCH_AMP,
    "logging_dir": TENSORBOARD,
    "overwrite_output_dir": "removed from transformers; --overwrite on the command line replaces a run folder",
    "split_batches": "it stands in training.accelerator_config now",
    "dispatch_batches": "it stands in training.accelerator_config now",
    "fsdp_min_num_params": "it stands in training.fsdp_config now",
    "torchdynamo": "it is called training.torch_compile_backend",
    "push_to_hub_token": "a recipe holds no secrets; set HF_TOKEN or run `hf auth login`",
    "push_to_hub_model_id": PUBLISHING,
    "push_to_hub_organization": PUBLISHING,
    "early_stopping_patience": "it is called early_stopping.patience",
    "early_stopping_threshold": "it is called early_stopping.threshold",
    "freeze_backbone": 'a strategy says which weights learn: "strategy": "feature_based" freezes the backbone',
    "freeze": 'a strategy says which weights learn: "strategy": "feature_based" freezes the backbone',
    "tokenizer": TOKENIZER,
    "tokenizer_name": TOKENIZER,
    "model_name": "it is called model.name",
    "model_name_or_path": "it is called model.name",
    "dataset": "it is called data.path",
    "dataset_name": "it is called data.path",
    "dataset_config_name": "it is called data.config_name",
    "max_seq_length": "it is called task.max_length",
    "max_seq_len": "it is called task.max_length",
    "num_classes": LABELS,
    "num_labels": LABELS,
    "id2label": LABELS,
    "label2id": LABELS,
    "dropout": MODEL_CONFIG,
    "torch_dtype": MODEL_DTYPE,
    "dtype": MODEL_DTYPE,
    "use_cuda": "the device is found by itself; training.use_cpu: true keeps to the processor",
    "device": "the device is found by itself; training.use_cpu: true keeps to the processor",
    "load_in_8bit": "weights in 8 or 4 bits cannot all be trained; leave it out",
    "load_in_4bit": "weights in 8 or 4 bits cannot all be trained; leave it out",
    "random_seed": 'it is called "seed", at the top of the recipe',
}
