"""Who we are to a registry. One order for every request; each secret belongs to one host."""

from __future__ import annotations

from runner.oci.reference import DEFAULT_DOMAIN
from runner.registry.caller import Caller
from runner.registry.dockerconfig import (
    Login,
    file_key,
    host_key,
    read_docker_config,
)
from runner.registry.keychain import get_login
from runner.registry.network import Network


class Credentials:
    """Finds logins: the caller's own token, the environment's, then Docker's config file.

    The file is read at each look-up: a login that was made a moment ago counts.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def find(self, host: str, caller: Caller) -> Login | None:
        """Return the login for a registry's host; None: anonymous.

        Raises RunnerError: REGISTRY_DENIED for a credential helper that fails, USAGE for a config
        file that cannot be read.
        """
        if caller.bearer_token:
            # Docker's clients send a token that the registry takes, or one that its token server
            # exchanges: the first answer tells which.
            token = caller.bearer_token
            return Login(identity_token=token, registry_token=token)
        if self._network.docker_hub_login is not None and host_key(host) == DEFAULT_DOMAIN:
            return Login(*self._network.docker_hub_login)
        config = read_docker_config(self._network.docker_config)
        if helper := config.helper_for(host):
            return get_login(helper, file_key(host), self._network.helper_environment)
        login = config.auths.get(host_key(host))
        return None if login is None or login.is_empty else login
