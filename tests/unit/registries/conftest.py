from tests.peers.mlflow_relay import relay
from tests.peers.mlflow_server import connect, mlflow_server, model

__all__ = ["connect", "mlflow_server", "model", "relay"]
