"""What runs, in which order: Prefect flows and the command line."""

from sentiflow.console import outlive_readers

outlive_readers()  # every process that runs a flow or a command comes by here
