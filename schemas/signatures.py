"""Checks that a source has sent a request. The only module that compares secrets.

Comparisons use the raw bytes and constant time. Every configured secret is tried, so that a secret
can be rotated without a gap. Signing for `send` is here, too: both sides use the same digest, so
they can't differ.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, Final

import jwt

from schemas.errors import BadSignature, SettingsError
from schemas.public_keys import is_signed, public_keys
from schemas.source import (
    JWT_KEY_BYTES,
    Auth,
    Basic,
    Fixed,
    Incoming,
    Jwt,
    Part,
    Proof,
    Signature,
    Signatures,
    Source,
    Token,
    proof_of,
)

NO_VARIABLES: Final[Mapping[str, str]] = MappingProxyType({})
# Long enough for nanoseconds. A longer run of digits is not a timestamp, and int() has a limit. No
# zero at the start: where the time follows the body, the zeros at the body's end could move to it.
_TIMESTAMP: Final = re.compile(r"[1-9][0-9]{0,18}")
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


def verify(
    auth: Auth,
    secrets: Sequence[str],
    request: Incoming,
    *,
    now: datetime,
    content: Any = None,
    variables: Mapping[str, str] = NO_VARIABLES,
) -> Proof:
    """Return how one of secrets proves the request, at the aware time now.

    content is the parsed body; it is read only where the CRM puts its token there. None: it has
    not been parsed. needs_content() says where that may make a difference. variables: the source's
    other variables by suffix; they have the vendor's public keys.

    Raises:
        BadSignature: unsigned, forged, too old, or there is no secret. Never anything else. The
            message tells the sender what to fix, and has nothing of a secret.
    """
    secrets = [secret for secret in secrets if secret.strip()]  # "" would match a missing header
    if not secrets:
        raise BadSignature("This source has no secret.", why="missing")
    match auth:
        case Token():
            _verify_token(auth, secrets, request, content)
            _verify_beside(auth, variables, request)
            return proof_of(auth, request.headers)
        case Basic():
            _verify_basic(secrets, request)
            return proof_of(auth, request.headers)
        case Jwt():
            _verify_jwt(auth, secrets, request, now)
            return proof_of(auth, request.headers)
        case Signatures():
            scheme = _scheme_of(auth, request)
            _verify_signature(scheme, secrets, request, now)
            return proof_of(scheme, request.headers)


def check_account(source: Source, content: Any, variables: Mapping[str, str]) -> None:
    """Raise BadSignature if a parsed body is of another account than the source's variable names.

    variables: the source's other variables by suffix.
    """
    check = source.kind.account_check
    ids = variables.get(check.variable, "") if check else ""
    if check is None or not ids.strip():
        return
    if not any(check.is_of(content, one.strip()) for one in ids.split(",") if one.strip()):
        name = source.variable_prefix + check.variable
        raise BadSignature(f"The body is not of the account that {name} names.", why="account")


def needs_content(auth: Auth) -> bool:
    """Say whether the proof may be in the body, so that it must be parsed to find the proof."""
    return isinstance(auth, Token) and bool(auth.body)


def sign(
    auth: Auth,
    secret: str,
    request: Incoming,
    *,
    now: datetime,
    message_id: str | None = None,
) -> dict[str, str]:
    """Return the headers that prove the request, by the strongest scheme of auth.

    message_id is for schemes that sign an id. None: the id is made of the body and of `now`, so
    the same body is another message when it is signed later.

    Raises:
        SettingsError: the secret can't be used; see check_secret().
    """
    if wrong := check_secret(auth, secret):
        raise SettingsError(wrong)
    match auth:
        case Token():
            return {auth.header: secret}
        case Basic():
            return {"Authorization": "Basic " + base64.b64encode(_utf8(secret)).decode("ascii")}
        case Jwt():
            return {auth.header: _signed_jwt(secret, now)}
        case Signatures():
            return _signed_headers(auth.schemes[0], secret, request, now, message_id)


def check_secret(auth: Auth, secret: str) -> str | None:
    """Return a sentence on why this secret can never prove anything; None if it can."""
    if not secret.strip():
        return "The secret is empty."
    match auth:
        case Basic():
            return None if ":" in secret else "The secret must be user:password."
        case Jwt():
            is_long = len(_utf8(secret)) >= JWT_KEY_BYTES
            return None if is_long else f"The secret must have at least {JWT_KEY_BYTES} characters."
        case Signatures():
            return next(
                filter(None, (_key_problem(scheme, secret) for scheme in auth.schemes)), None
            )
        case _:
            return None


def is_one_of(given: str, secrets: Sequence[str]) -> bool:
    """Say whether given, a token from a header, is one of secrets; an empty token never is.

    For the tokens of our own API and callbacks, which have no source.
    """
    given = given.strip()
    usable = [_utf8(secret) for secret in secrets if secret.strip()]
    return bool(given) and _one_equals([_wire(given)], usable)


# --- tokens and passwords -------------------------------------------------------------------


def _verify_token(auth: Token, secrets: Sequence[str], request: Incoming, content: Any) -> None:
    given = []
    if (header := request.headers.get(auth.header)) is not None:
        given.append(_wire(header.strip()))
    if (argument := request.query.get(auth.query)) is not None:
        given += [_utf8(argument), *_as_sent(auth.query, request.url)]
    if isinstance(content, dict):
        given += [_utf8(content[name]) for name in auth.body if isinstance(content.get(name), str)]
    if not given:
        raise BadSignature("The request has no token.", why="missing")
    if not _one_equals(given, map(_utf8, secrets)):
        raise BadSignature("The token is wrong.", why="wrong_token")


def _verify_beside(auth: Token, variables: Mapping[str, str], request: Incoming) -> None:
    """Raise BadSignature where a vendor's signature is beside the token and is wrong."""
    for one in auth.beside:
        signature = request.headers.get(one.header)
        if signature is None or signature.strip() == one.absent:
            continue
        given = variables.get(one.variable)
        keys = public_keys(given) if given else ()
        if not is_signed(one.algorithm, keys, signature.strip(), request.body):
            raise BadSignature(
                f"The token is right, and the signature in {one.header} is wrong.",
                why="wrong_signature",
            )
        return  # the headers behind it have weaker signatures of the same body


def _as_sent(name: str, url: str) -> list[bytes]:
    """Return an argument of a URL's query as it was sent, and with its percent signs decoded.

    A query is decoded like a form, so a plus becomes a space. A person who pastes a token into a
    URL writes a plus and means it.
    """
    for pair in url.partition("?")[2].split("&"):
        key, _, value = pair.partition("=")
        if key == name:
            decoded = _PERCENT.sub(lambda found: bytes.fromhex(found[1].decode()), _utf8(value))
            return [_utf8(value), decoded]
    return []


def _verify_basic(secrets: Sequence[str], request: Incoming) -> None:
    scheme, _, encoded = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "basic":
        raise BadSignature("The request has no user and password.", why="missing")
    given = _base64(encoded.strip())
    if given is None or not _one_equals([given], map(_utf8, secrets)):
        raise BadSignature("The user or the password is wrong.", why="wrong_login")


# --- JSON Web Tokens ------------------------------------------------------------------------

_JWT_ALGORITHM: Final = "HS256"
_JWT_LIFETIME_S: Final = 300  # of a token that we sign


def _verify_jwt(auth: Jwt, secrets: Sequence[str], request: Incoming, now: datetime) -> None:
    given = request.headers.get(auth.header, "").strip()
    scheme, _, rest = given.partition(" ")
    token = rest.strip() if scheme.lower() == "bearer" else given
    if not token:
        raise BadSignature("The request has no token.", why="missing")
    read = [_claims(secret, token) for secret in secrets]  # each one: see _one_equals()
    claims = next((found for found in read if found is not None), None)
    if claims is None:
        raise BadSignature(
            f"The token is no JWT that this source's secret has signed ({_JWT_ALGORITHM}).",
            why="wrong_signature",
        )
    if not _is_number(claims.get("exp")):
        raise BadSignature("The token does not say when it expires.", why="no_time")
    if not claims["exp"] + auth.tolerance_s > now.timestamp():
        raise BadSignature("The token has expired.", why="stale")
    begins = claims.get("nbf", 0)
    if not _is_number(begins) or not begins - auth.tolerance_s <= now.timestamp():
        raise BadSignature("The token is not valid yet.", why="stale")


def _claims(secret: str, token: str) -> dict[str, Any] | None:
    """Return the claims of a token that this secret signed; None: it did not. Never raises.

    Its times are not judged here: PyJWT would compare them with its own clock.
    """
    try:
        return jwt.decode(
            token,
            secret,
            algorithms=[_JWT_ALGORITHM],  # so neither "none" nor a public key's algorithm
            options={
                "enforce_minimum_key_length": True,
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                # Behind a proxy we don't know the address that the sender called.
                "verify_aud": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None


def _signed_jwt(secret: str, now: datetime) -> str:
    made_at = int(now.timestamp())
    claims = {"iat": made_at, "exp": made_at + _JWT_LIFETIME_S}
    return jwt.encode(claims, secret, algorithm=_JWT_ALGORITHM)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- signatures -----------------------------------------------------------------------------


def _scheme_of(auth: Signatures, request: Incoming) -> Signature:
    """Return the scheme to check: the first whose header is there.

    So an attacker can't choose a weaker scheme beside a stronger header. Two schemes may share a
    header; then another header tells them apart.
    """
    for scheme in auth.schemes:
        if request.headers.get(scheme.header) is not None and _is_version(scheme, request):
            return scheme
    raise BadSignature(
        "The request has no signature of a kind that this source accepts.", why="missing"
    )


def _is_version(scheme: Signature, request: Incoming) -> bool:
    if scheme.only_with is None:
        return True
    header, wanted = scheme.only_with
    return request.headers.get(header, "").strip() == wanted


def _verify_signature(
    scheme: Signature, secrets: Sequence[str], request: Incoming, now: datetime
) -> None:
    _check_time(scheme, request.headers, now)
    if scheme.id_header and not request.headers.get(scheme.id_header, "").strip():
        raise BadSignature("The request has no message id.", why="missing")
    given = _given(scheme, request.headers[scheme.header])
    keys = [key for secret in secrets if (key := _key(scheme, secret))]
    expected = (
        form
        for key in keys
        for url in _urls(scheme, request.url)
        for form in _forms(scheme, _signature(scheme, key, request, url, request.headers))
    )
    if not _one_equals(given, expected):
        raise BadSignature("The signature is wrong.", why="wrong_signature")


def _check_time(scheme: Signature, headers: Mapping[str, str], now: datetime) -> None:
    """Raise BadSignature where the request's time is too far in the past or the future."""
    if scheme.timestamp_header is None and scheme.timestamp_key is None:
        return
    text = _time_text(scheme, headers)
    if not _TIMESTAMP.fullmatch(text):
        raise BadSignature(
            "The request's timestamp is missing or is not a whole number.", why="no_time"
        )
    ticks = 1000 if scheme.timestamp_unit == "ms" else 1
    if abs(now.timestamp() * ticks - int(text)) > scheme.tolerance_s * ticks:
        raise BadSignature(
            f"The request's timestamp is more than {scheme.tolerance_s} seconds off our clock.",
            why="stale",
        )


def _time_text(scheme: Signature, headers: Mapping[str, str]) -> str:
    """Return the time of a request as its sender wrote it; "": it has none."""
    if scheme.timestamp_key is not None:
        # The first only: the time that is checked must be the time that is signed.
        return next(iter(_paired(headers.get(scheme.header, ""), scheme.timestamp_key)), "")
    return headers.get(scheme.timestamp_header or "", "").strip()


def _paired(header: str, key: str) -> list[str]:
    """Return the values of a key in a header of pairs, with commas or semicolons between them."""
    pairs = (pair.partition("=") for pair in header.replace(";", ",").split(","))
    return [value.strip() for name, _, value in pairs if name.strip() == key]


def _given(scheme: Signature, header: str) -> list[bytes]:
    """Return the signatures in a header."""
    if scheme.signature_key is not None:
        return [_wire(value) for value in _paired(header, scheme.signature_key)]
    if scheme.several is not None:
        return [_wire(part.strip()) for part in header.split(scheme.several) if part.strip()]
    text = header.strip()
    if scheme.encoding == "base64":
        # Some proxies decode v3 headers like a form, which turns a plus into a space. base64 has no
        # spaces, so reading each as a plus accepts nothing else.
        text = text.replace(" ", "+")
    return [_wire(text)]


def _forms(scheme: Signature, signature: str) -> list[bytes]:
    """Return the spellings of a signature: .NET writes hex in capitals."""
    if scheme.encoding != "hex":
        return [_utf8(signature)]
    digits = signature.removeprefix(scheme.prefix)
    return [_utf8(scheme.prefix + digits), _utf8(scheme.prefix + digits.upper())]


def _urls(scheme: Signature, url: str) -> list[str]:
    """Return the URLs that the sender may have signed: as it was called, and decoded."""
    if Part.URL not in scheme.parts or not scheme.url_decoding:
        return [url]
    # HubSpot's documentation decodes the URL, its own SDKs do not; either may have been signed.
    decoded = _decode(url, scheme.url_decoding)
    return [url] if decoded == url else [url, decoded]


def _decode(url: str, table: tuple[tuple[str, str], ...]) -> str:
    """Decode exactly the escapes in table, each once: %253A stays %253A."""
    if "%" not in url:
        return url
    plain = {escape.upper(): char for escape, char in table}
    return _escapes(table).sub(lambda found: plain[found.group().upper()], url)


@cache
def _escapes(table: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(escape) for escape, _ in table), re.IGNORECASE)


def _signed_headers(
    scheme: Signature, secret: str, request: Incoming, now: datetime, message_id: str | None
) -> dict[str, str]:
    headers = {}
    ticks = 1000 if scheme.timestamp_unit == "ms" else 1
    time = str(int(now.timestamp() * ticks))
    if scheme.timestamp_header:
        headers[scheme.timestamp_header] = time
    if scheme.timestamp_key:
        headers[scheme.header] = f"{scheme.timestamp_key}={time}"
    if scheme.id_header:
        headers[scheme.id_header] = message_id or _message_id(request, now)
    if scheme.only_with:
        header, value = scheme.only_with
        headers[header] = value
    key = _key(scheme, secret) or b""
    signature = _signature(scheme, key, request, request.url, headers)
    if scheme.signature_key:
        pairs = [headers.get(scheme.header, ""), f"{scheme.signature_key}={signature}"]
        signature = ",".join(filter(None, pairs))
    return headers | {scheme.header: signature}


def _message_id(request: Incoming, now: datetime) -> str:
    digest = hashlib.sha256(now.isoformat().encode() + b" " + request.body)
    return f"msg_{digest.hexdigest()[:32]}"


def _signature(
    scheme: Signature, key: bytes, request: Incoming, url: str, headers: Mapping[str, str]
) -> str:
    """Return the signature of a request over url, as its header has it.

    Timestamp and id come from headers, so that a sender can sign a request before it sends it.
    """
    message = _utf8(scheme.separator).join(
        [_signed_part(part, scheme, key, request, url, headers) for part in scheme.parts]
    )
    if scheme.keyed:
        keyed = _keyed(key, scheme.hash).copy()
        keyed.update(message)
        digest = keyed.digest()
    else:
        digest = hashlib.new(scheme.hash, message).digest()
    if scheme.encoding == "hex":
        return scheme.prefix + digest.hex()
    return scheme.prefix + base64.b64encode(digest).decode("ascii")


@lru_cache(maxsize=256)
def _keyed(key: bytes, hash_name: str) -> hmac.HMAC:
    """Return an HMAC that has read nothing but its key: to prepare that costs as much as a body."""
    return hmac.new(key, digestmod=hash_name)


def _signed_part(
    part: Part | Fixed,
    scheme: Signature,
    key: bytes,
    request: Incoming,
    url: str,
    headers: Mapping[str, str],
) -> bytes:
    match part:
        case Part.BODY:
            return request.body
        case Part.METHOD:
            return _utf8(request.method.upper())
        case Part.URL:
            return _utf8(url)
        case Part.TIMESTAMP:
            return _wire(_time_text(scheme, headers))
        case Part.ID:
            return _wire(headers.get(scheme.id_header or "", "").strip())
        case Part.SECRET:
            return key
        case Fixed(text=text):
            return _utf8(text)


# --- keys and bytes -------------------------------------------------------------------------


def _key(scheme: Signature, secret: str) -> bytes | None:
    """Return the bytes of a secret; None if it can't be decoded. Never raises."""
    is_text = scheme.secret_encoding == "text"  # noqa: S105  (no secret)
    text = secret if is_text else secret.strip()
    text = text.removeprefix(scheme.secret_prefix)
    match scheme.secret_encoding:
        case "text":
            return _utf8(text)
        case "base64":
            return _base64(text)
        case "hex":
            try:
                return bytes.fromhex(text)
            except ValueError:
                return None


def _key_problem(scheme: Signature, secret: str) -> str | None:
    key = _key(scheme, secret)
    if key is None:
        after = f" after {scheme.secret_prefix}" if scheme.secret_prefix else ""
        return f"The secret is not valid {scheme.secret_encoding}{after}."
    return None if key else "The secret is empty."


def _base64(text: str) -> bytes | None:
    """Decode base64, with or without its padding; None if it is not base64."""
    try:
        return base64.b64decode(
            text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True
        )
    except (binascii.Error, ValueError):
        return None


def _one_equals(given: Sequence[bytes], expected: Iterable[bytes]) -> bool:
    """Say whether a given value equals an expected one, in constant time."""
    # A list, not a generator: any() would stop at the first match, and its time would tell which.
    return any([hmac.compare_digest(one, other) for other in expected for one in given])


def _wire(header: str) -> bytes:
    """Return a header's bytes as they were sent: WSGI decodes them as Latin-1."""
    try:
        return header.encode("latin-1")
    except UnicodeEncodeError:
        return _utf8(header)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # never raises, whatever the sender wrote
