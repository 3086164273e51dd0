"""Host, Origin, content type and keys: cases A9 to A11 and A15 of demands-security.md."""

from __future__ import annotations

import pytest

from runner import http
from runner.api.gate import Policy, cors_headers, decide, preflight_headers
from runner.api.keys import Scope, parse_keys
from runner.errors import Kind, RunnerError
from tests.unit.api.heads import head, post

OPEN = Policy()
KEYED = Policy(keys=parse_keys(["all-of-it", "only-infer:infer"]))
JSON = ("Content-Type", "application/json")


def refusal(request: http.Request, policy: Policy = OPEN) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        decide(request, policy, at="127.0.0.1")
    return caught.value


# ---- Host ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:12434",
        "LOCALHOST:1",
        "localhost.",
        "app.localhost:12434",
        "127.0.0.1:12434",
        "127.1.2.3",
        "[::1]:12434",
        "model-runner.docker.internal",
        "host.docker.internal:12434",
    ],
)
def test_our_own_names_are_allowed(host: str) -> None:
    assert decide(head("GET", "/", ("Host", host)), OPEN, at="127.0.0.1").scopes == set(Scope)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "notlocalhost",
        "0.0.0.0:12434",
        "[::]:12434",
        "172.17.0.1:12434",
        "192.168.1.5",
    ],
)
def test_other_names_are_refused_and_told_how_to_be_allowed(host: str) -> None:
    error = refusal(head("GET", "/", ("Host", host)))
    assert (error.kind, error.row.status) == (Kind.HOST_NOT_ALLOWED, 403)
    assert "RUNNER_ALLOWED_HOSTS" in (error.hint or "")


@pytest.mark.parametrize("host", ["172.17.0.1:12434", "203.0.113.7", "[fd00::1]:12434"])
def test_addresses_are_allowed_where_we_listen_on_more_than_loopback(host: str) -> None:
    decide(head("GET", "/", ("Host", host)), Policy(is_exposed=True), at="127.0.0.1")


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "evil.example"])
def test_what_is_no_address_of_ours_stays_refused_there(host: str) -> None:
    request = head("GET", "/", ("Host", host))
    assert refusal(request, Policy(is_exposed=True)).kind is Kind.HOST_NOT_ALLOWED


@pytest.mark.parametrize("configured", ["evil.example", "*"])
def test_a_configured_name_is_allowed(configured: str) -> None:
    request = head("GET", "/", ("Host", "Evil.example:12434"))
    decide(request, Policy(hosts=frozenset({configured})), at="127.0.0.1")


def test_http_1_0_needs_no_host() -> None:
    decide(head()._replace(host=None, version=(1, 0)), OPEN, at="127.0.0.1")


# ---- Origin ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:8443",
        "http://127.0.0.1:5173",
        "http://[::1]:80",
    ],
)
def test_pages_of_this_machine_are_allowed_on_any_port(origin: str) -> None:
    request = head("GET", "/v1/models", ("Origin", origin))
    decide(request, OPEN, at="127.0.0.1")
    cors = dict(cors_headers(request, OPEN))
    assert (cors["Access-Control-Allow-Origin"], cors["Vary"]) == (origin, "Origin")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "localhost",
        "http://localhost.evil.example",
        "http://localhost:3000.evil.example",
        "http://evil.example:12434",
        "file://",
        "http://0.0.0.0:12434",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_other_pages_are_refused(method: str, origin: str) -> None:
    request = head(method, "/v1/models", ("Origin", origin))
    assert refusal(request).kind is Kind.ORIGIN_NOT_ALLOWED
    assert cors_headers(request, OPEN) == [("Vary", "Origin")]


@pytest.mark.parametrize(
    ("configured", "origin"),
    [
        ("https://app.example", "https://app.example"),
        ("https://app.example:*", "https://app.example:8443"),
        ("*", "https://anything.example"),
        ("null", "null"),
    ],
)
def test_a_configured_origin_is_allowed(configured: str, origin: str) -> None:
    policy = Policy(origins=frozenset({configured}))
    decide(head("GET", "/", ("Origin", origin)), policy, at="127.0.0.1")


@pytest.mark.parametrize(
    ("configured", "origin"),
    [
        ("https://app.example", "https://app.example:8443"),
        ("https://app.example", "http://app.example"),
        ("https://app.example:*", "https://app.example.evil"),
        ("*", "null"),
    ],
)
def test_a_configured_origin_allows_no_other(configured: str, origin: str) -> None:
    request = head("GET", "/", ("Origin", origin))
    policy = Policy(origins=frozenset({configured}))
    assert refusal(request, policy).kind is Kind.ORIGIN_NOT_ALLOWED


def test_a_page_we_serve_under_an_allowed_name_may_use_us() -> None:
    host = "model-runner.docker.internal:12434"
    decide(head("GET", "/", ("Host", host), ("Origin", f"http://{host}")), OPEN, at="127.0.0.1")


def test_fetch_metadata_without_an_origin_is_no_page() -> None:
    # Every Node client sends it (dependencies.md 2.2).
    decide(head("GET", "/", ("sec-fetch-mode", "cors")), OPEN, at="127.0.0.1")


def test_two_origins_are_malformed() -> None:
    request = head("GET", "/", ("Origin", "http://localhost"), ("Origin", "http://localhost"))
    assert refusal(request).kind is Kind.INVALID_REQUEST


def test_a_preflight_gets_what_it_asks_for() -> None:
    request = head(
        "OPTIONS",
        "/v1/chat/completions",
        ("Origin", "http://localhost:3000"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type,x-stainless-os"),
        ("Access-Control-Request-Private-Network", "true"),
    )
    decide(request, KEYED, at="127.0.0.1")  # browsers send no key with it
    assert preflight_headers(request) == [
        ("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE, OPTIONS"),
        ("Access-Control-Allow-Headers", "authorization,content-type,x-stainless-os"),
        ("Access-Control-Max-Age", "600"),
        ("Access-Control-Allow-Private-Network", "true"),
    ]


def test_a_preflight_cannot_smuggle_a_header() -> None:
    request = head(
        "OPTIONS",
        "/",
        ("Origin", "http://localhost"),
        ("Access-Control-Request-Headers", "a;b\t<c>"),
    )
    allowed = dict(preflight_headers(request))["Access-Control-Allow-Headers"]
    assert allowed == "Authorization, Content-Type, X-Api-Key"


# ---- content type ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/vnd.api+json",
        "application/json; profile=x",
    ],
)
def test_json_is_taken(content_type: str) -> None:
    decide(post(("Content-Type", content_type)), OPEN, at="127.0.0.1")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json-seq",
        "application/json; charset=latin-1",
        "text/plain; application/json",
        "",
    ],
)
def test_a_body_of_another_type_is_refused_with_the_remedy(content_type: str) -> None:
    error = refusal(post(("Content-Type", content_type)))
    assert (error.kind, error.row.status) == (Kind.UNSUPPORTED_MEDIA_TYPE, 415)
    assert "-H 'Content-Type: application/json'" in (error.hint or "")


FORM = ("Content-Type", "application/x-www-form-urlencoded")
# Each alone is what a browser might send where it sends nothing else.
OF_BROWSERS = [
    ("Origin", "http://localhost:3000"),
    ("Sec-Fetch-Site", "cross-site"),
    ("sec-fetch-mode", "no-cors"),
    ("SEC-FETCH-DEST", "empty"),
    ("Referer", "http://localhost:12434/"),
    ("Referer", ""),
    ("Cookie", "a=b"),
]


def test_a_program_may_leave_the_type_out() -> None:
    decide(post(), OPEN, at="127.0.0.1")
    decide(head("POST", "/", ("Transfer-Encoding", "chunked")), OPEN, at="127.0.0.1")
    decide(post(target="/api/chat"), OPEN, at="")


@pytest.mark.parametrize("field", OF_BROWSERS)
def test_a_page_may_not_leave_the_type_out(field: tuple[str, str]) -> None:
    assert refusal(post(field)).kind is Kind.UNSUPPORTED_MEDIA_TYPE
    assert refusal(post(field, target="/api/chat")).kind is Kind.UNSUPPORTED_MEDIA_TYPE


def test_the_lines_of_ollamas_documentation_run_as_they_are() -> None:
    decide(post(FORM, target="/api/generate"), OPEN, at="127.0.0.1")
    decide(post(FORM, target="/api/create?x"), OPEN, at="127.0.0.1")


@pytest.mark.parametrize("field", OF_BROWSERS)
def test_a_pages_form_is_refused_there_too(field: tuple[str, str]) -> None:
    assert refusal(post(FORM, field, target="/api/generate")).kind is Kind.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    "target",
    ["/", "/apix/chat", "/api", "//api/chat", "/v1/api/chat", "/models/create", "/%61pi/x"],
)
def test_a_form_is_refused_everywhere_else(target: str) -> None:
    assert refusal(post(FORM, target=target)).kind is Kind.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    "types",
    [
        [("Content-Type", "text/plain")],
        [("Content-Type", "")],
        [("Content-Type", "multipart/form-data; boundary=x")],
        [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")],
        [FORM, FORM],
        [FORM, JSON],
        [JSON, JSON],
    ],
)
def test_other_types_are_refused_on_ollamas_paths_too(types: list[tuple[str, str]]) -> None:
    assert refusal(post(*types, target="/api/chat")).kind is Kind.UNSUPPORTED_MEDIA_TYPE


def test_a_request_without_a_body_needs_no_type() -> None:
    decide(head("POST", "/models/x/tag?repo=a&tag=b"), OPEN, at="127.0.0.1")
    decide(head("POST", "/", ("Content-Length", "0")), OPEN, at="127.0.0.1")


# ---- keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "scopes"),
    [
        (("Authorization", "Bearer all-of-it"), {Scope.INFER, Scope.MANAGE, Scope.ADMIN}),
        (("authorization", "bearer  all-of-it "), {Scope.INFER, Scope.MANAGE, Scope.ADMIN}),
        (("x-api-key", "only-infer"), {Scope.INFER}),
    ],
)
def test_a_key_has_its_scopes(field: tuple[str, str], scopes: set[Scope]) -> None:
    assert decide(head("GET", "/v1/models", field), KEYED, at="127.0.0.1").scopes == scopes


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (("Authorization", "Bearer wrong"),),
        (("Authorization", "Basic all-of-it"),),
        (("Authorization", "all-of-it"),),
        (("Authorization", "Bearer "),),
        (("x-api-key", "all-of-i"),),
    ],
)
def test_without_a_known_key_there_is_a_401(fields: tuple[tuple[str, str], ...]) -> None:
    error = refusal(head("GET", "/v1/models", *fields), KEYED)
    assert (error.kind, error.row.status) == (Kind.UNAUTHENTICATED, 401)


def test_two_authorization_headers_are_malformed() -> None:
    field = ("Authorization", "Bearer all-of-it")
    error = refusal(head("GET", "/v1/models", field, field), KEYED)
    assert (error.kind, error.row.status) == (Kind.INVALID_REQUEST, 400)


@pytest.mark.parametrize("query", ["api_key=all-of-it", "a=b&KEY=", "access_token=x"])
def test_a_key_in_the_query_is_refused(query: str) -> None:
    assert refusal(head("GET", f"/v1/models?{query}"), KEYED).row.status == 400


@pytest.mark.parametrize("path", ["/", "/version", "/health", "/livez", "/readyz"])
def test_open_paths_need_no_key_and_give_no_scope(path: str) -> None:
    assert decide(head("GET", path), KEYED, at="127.0.0.1").scopes == set()


@pytest.mark.parametrize("path", ["//", "/health/", "/readyz%2f", "/logs"])
def test_no_other_path_is_open(path: str) -> None:
    assert refusal(head("GET", path), KEYED).kind is Kind.UNAUTHENTICATED


def test_a_server_without_keys_takes_any() -> None:
    request = head("GET", "/v1/models", ("Authorization", "Bearer made-up"))
    assert decide(request, OPEN, at="127.0.0.1").scopes == set(Scope)


def test_a_missing_scope_is_a_403_that_names_it() -> None:
    request = head("GET", "/logs", ("x-api-key", "only-infer"))
    allowed = decide(request, KEYED, at="127.0.0.1")
    allowed.require(Scope.INFER)
    with pytest.raises(RunnerError, match="'admin'") as caught:
        allowed.require(Scope.ADMIN)
    assert caught.value.kind is Kind.FORBIDDEN


def test_the_unix_socket_is_trusted_by_its_mode() -> None:
    request = post(JSON, ("Host", "anything"), ("Origin", "null"))
    assert decide(request, KEYED, at="").scopes == set(Scope)


# ---- containers ------------------------------------------------------------------------------

BRIDGE = "172.17.0.1"


@pytest.mark.parametrize("host", ["172.17.0.1:12434", "host.docker.internal:12434", "172.18.0.1"])
def test_a_container_may_use_models_and_change_nothing(host: str) -> None:
    policy = Policy(bridges=frozenset({BRIDGE}))
    request = head("GET", "/", ("Host", host))
    assert decide(request, policy, at=BRIDGE).scopes == {Scope.INFER}
    assert refusal(head("GET", "/", ("Host", "172.17.0.1")), policy).kind is Kind.HOST_NOT_ALLOWED


@pytest.mark.parametrize("at", ["fd00::2", "fe80::1%docker0", "192.168.1.5"])
def test_an_address_that_is_not_loopback_gives_no_more_than_a_bridge(at: str) -> None:
    """However we came to listen there, as by a bridge that was written in another way."""
    request = head("GET", "/", ("Host", "localhost"))
    assert decide(request, Policy(bridges=frozenset({BRIDGE})), at=at).scopes == {Scope.INFER}
    assert decide(request, Policy(is_exposed=True), at=at).scopes == set(Scope)


@pytest.mark.parametrize("at", ["127.0.0.2", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_this_machine_however_it_is_written(at: str) -> None:
    assert decide(head("GET", "/", ("Host", "localhost")), OPEN, at=at).scopes == set(Scope)


def test_a_container_with_a_key_may_what_the_key_may() -> None:
    policy = Policy(keys=KEYED.keys, bridges=frozenset({BRIDGE}))
    host = ("Host", "host.docker.internal")
    keyed = head("GET", "/x", host, ("Authorization", "Bearer all-of-it"))
    assert decide(keyed, policy, at=BRIDGE).scopes == set(Scope)
    with pytest.raises(RunnerError) as caught:
        decide(head("GET", "/x", host), policy, at=BRIDGE)
    assert caught.value.kind is Kind.UNAUTHENTICATED


def test_a_name_of_somebody_else_is_refused_at_the_bridge_too() -> None:
    with pytest.raises(RunnerError) as caught:
        decide(
            head("GET", "/", ("Host", "evil.example")),
            Policy(bridges=frozenset({BRIDGE})),
            at=BRIDGE,
        )
    assert caught.value.kind is Kind.HOST_NOT_ALLOWED
