"""A Hub on the loopback: a server on a socket that speaks the Hub's protocol to the real clients.

    with loopback_hub(folder) as hub:
        hub.add_model("bert-base-uncased", model_folder)
        hub.fault("POST", "/commit/", "drop_after")
        subprocess.run(command, env=hub.environment(home))

Commits, parents and SHA-256 sums are real; a request that it does not know fails the test that made it.
"""

from hub.faults import Fault, Request
from hub.server import LoopbackHub, loopback_hub

__all__ = ["Fault", "LoopbackHub", "Request", "loopback_hub"]
