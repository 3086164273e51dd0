"""``docker-model``: our commands as ``docker model …``, and for Docker Compose.

Docker runs a plugin twice for each command: the first time only to ask who it is, which is answered
here before anything is imported (docker/cli, ``cli-plugins/metadata``).
"""

from __future__ import annotations

import sys

METADATA_COMMAND = "docker-cli-plugin-metadata"

# The release of Docker's own plugin whose commands these are: Compose passes on the engine's flags
# to a plugin from 1.0.6 on.
VERSION = "v1.1.0"

METADATA = f"""\
{{
     "SchemaVersion": "0.1.0",
     "Vendor": "runner",
     "Version": "{VERSION}",
     "ShortDescription": "Language models on your own machine"
}}
"""


def main() -> int:
    """Answer Docker's question, or obey the command line."""
    if sys.argv[1:2] == [METADATA_COMMAND]:
        sys.stdout.write(METADATA)
        return 0
    from runner.cli.loading import load

    code: int = load("runner.cli.docker").main(sys.argv[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
