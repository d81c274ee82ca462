"""Give MLflow's administrator the password that the input holds: admin_password.py DATABASE.

Not by the server, which asks for the old one: it may be lost.
"""

import sys

from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

store = SqlAlchemyStore()
store.init_db(sys.argv[1])  # type: ignore[no-untyped-call]
store.update_user("admin", sys.stdin.read())
