"""
Who is let in: users, rules, logins, tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.web.resource import IResource

from mixweb.feature import Asked, Context, FilePath, Place, Stage, Verdict, Wrap, WrapperSettings, option
from mixweb.features.auth._files import UNMARKED, is_quotable
from mixweb.features.auth._keys import ALGORITHMS, ENCODINGS, SYMMETRIC
from mixweb.features.auth._policy import Creators
from mixweb.features.auth._rules import Policy
from mixweb.stores import StoreURL, check_url

__all__ = ["FEATURE", "Auth", "build"]

SCHEMES = ("form", "basic", "digest", "bearer")


@dataclass(frozen=True)
class Auth(WrapperSettings):
    """Let known users in, and nobody else."""

    users: Place = option(
        "",
        principal=True,
        help="File of users (name:password[:roles], htpasswd, htdigest), store:, or a checker of twistd (file:PATH ...).",
        metavar="USERS",
    )
    rules: Sequence[str] = option(
        (),
        help="[METHOD,...] PATH WHO ...: WHO is a name, !name, #role, !#role, * or anyone. The first that matches decides.",
        metavar="RULE",
    )
    secrets: Sequence[str] = option((), help="Path, or name in any path, that only known users see.", metavar="PATH")
    schemes: Sequence[str] = option(
        (), help="How one may say who one is: form, basic, digest, bearer; empty for what users and tokens allow."
    )
    realm: str = option(
        "", help="What is guarded, as a client is told; by default that of an htdigest file, or mixweb."
    )
    prefix: str = option("/", help="Path that login, logout and the others are below.", metavar="PATH")
    goto_any: bool = option(False, help="Let a login lead back to other sites. Unsafe.")
    dummy: bool = option(False, help="Let everybody log in, without a password. Unsafe.")
    register: Mapping[str, str] = option(
        {}, help="Who may make users of a role ('user' for none): like the WHO of a rule.", metavar="ROLE=WHO"
    )
    store: StoreURL = option(
        "", help="Where failures and tokens are kept; empty for the server's store.", metavar="URL"
    )
    attempts: int = option(5, help="Failures that are free before one has to wait; 0 for all.", metavar="NUMBER")
    passwords: str = option(
        "", help="What passwords without a mark are in the file: clear, md5, sha1, sha256 or sha512.", metavar="KIND"
    )
    rehash: bool = option(True, help="Store old hashes anew, at the next login, as argon2id.")
    password_length: int = option(10, help="Shortest new password, in characters.", metavar="NUMBER")
    password_kinds: int = option(
        3, help="Of small letters, capitals, digits, others: how many kinds it has.", metavar="NUMBER"
    )
    hash_threads: int = option(2, help="Threads that check passwords.", metavar="NUMBER")
    hash_queue: int = option(64, help="Logins that may wait for them; more are answered 503.", metavar="NUMBER")
    token_algorithm: str = option(
        "", help="Make and take JSON Web Tokens: HS256, RS256, ES256, EdDSA ...", metavar="NAME"
    )
    secret: str = option(
        "", help="What HS tokens are signed with; by default another one in each process.", secret=True
    )
    secret_encoding: str = option("clear", help="How it is written: clear, base64std or base64url.", metavar="NAME")
    token_keys: Sequence[FilePath] = option(
        (), help="PEM file with the key of other tokens; the first one signs, all are believed.", metavar="FILE"
    )
    token_issuer: str = option("", help="The iss of tokens; empty for none.", metavar="TEXT")
    audience: str = option("", help="The aud of tokens; empty for none.", metavar="TEXT")
    token_lifetime: int = option(900, help="Seconds that an access token is good for.", metavar="SECONDS")
    refresh_lifetime: int = option(86400, help="Seconds that an unused refresh token is good for.", metavar="SECONDS")
    leeway: int = option(60, help="Seconds that the clocks of others may differ.", metavar="SECONDS")
    jwks: Place = option("", help="File or https URL with the keys of an outside issuer of tokens.", metavar="PLACE")
    jwks_issuer: str = option("", help="The iss of its tokens.", metavar="TEXT")
    jwks_audience: str = option("", help="The aud of its tokens.", metavar="TEXT")
    jwks_algorithms: Sequence[str] = option(
        ("RS256", "PS256", "ES256", "EdDSA", "Ed25519"), help="The algorithms of its tokens.", metavar="NAME"
    )
    name_claim: str = option("sub", help="The claim of others' tokens that names the user.", metavar="CLAIM")
    roles_claim: str = option("roles", help="The claim of others' tokens that lists the roles.", metavar="CLAIM")

    def __post_init__(self) -> None:
        Policy(self.rules, self.secrets, self.paths, self.except_paths)
        Creators(self.register)
        self._check_users()
        self._check_tokens()
        for name in ("attempts", "hash_queue", "password_kinds", "leeway"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("hash_threads", "password_length", "token_lifetime", "refresh_lifetime"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.password_kinds > 4:
            raise ValueError("password_kinds must be at most 4")
        if self.store:
            check_url(self.store)

    def _check_users(self) -> None:
        if not (self.users or self.dummy or self.token_algorithm or self.jwks):
            raise ValueError(
                "users: say where they are (--auth FILE; mixweb passwd FILE NAME makes one), "
                "or say how tokens are checked (token_algorithm, jwks), or let everybody in (dummy)"
            )
        if self.dummy and self.users:
            raise ValueError("dummy lets everybody log in: it does not go with users")
        for name in self.schemes:
            if name not in SCHEMES:
                raise ValueError(f"schemes: there is no {name!r}, only {', '.join(SCHEMES)}")
        if self.passwords not in ("", *UNMARKED):
            raise ValueError(f"passwords must be {', '.join(UNMARKED)} or empty, not {self.passwords!r}")
        for name in ("realm", "prefix"):
            if not is_quotable(getattr(self, name)):
                raise ValueError(f"{name} must be printable ASCII without quotes and backslashes")
        if not self.prefix.startswith("/"):
            raise ValueError("prefix must begin with a slash")
        if self.register and not self.users:
            raise ValueError("register needs users to add to")

    def _check_tokens(self) -> None:
        for name, given in (("token_algorithm", [self.token_algorithm]), ("jwks_algorithms", self.jwks_algorithms)):
            unknown = next((item for item in given if item and item not in ALGORITHMS), None)
            if unknown is not None:
                raise ValueError(f"{name}: there is no {unknown!r}, only {', '.join(ALGORITHMS)}")
        if self.secret_encoding not in ENCODINGS:
            raise ValueError(f"secret_encoding must be {', '.join(ENCODINGS)}, not {self.secret_encoding!r}")
        if self.secret and self.token_algorithm not in SYMMETRIC:
            raise ValueError("secret belongs to token_algorithm HS256, HS384 or HS512")
        if self.token_algorithm and (self.token_algorithm not in SYMMETRIC) != bool(self.token_keys):
            needs = "needs no token_keys" if self.token_keys else "needs token_keys, a PEM file"
            raise ValueError(f"token_algorithm {self.token_algorithm} {needs}")
        if self.token_keys and not self.token_algorithm:
            raise ValueError("token_keys needs token_algorithm")
        if self.jwks and not (self.jwks_issuer and self.jwks_audience):
            raise ValueError(
                "jwks needs jwks_issuer and jwks_audience: other tokens of that issuer are not for this site"
            )


def build(settings: Auth, inner: IResource, context: Context) -> IResource:
    from mixweb.features.auth._build import make

    return make(settings, inner, context)


def brings(settings: Auth) -> Iterable[str]:
    """Logins are kept in sessions."""
    wanted = settings.schemes or (("form",) if settings.users or settings.dummy else ())
    return ["session"] if "form" in wanted else []


def explain(settings: Any, asked: Asked) -> Verdict | None:
    """Which rule a request meets."""
    policy = Policy(settings.rules, settings.secrets, settings.paths, settings.except_paths)
    return Verdict(policy.reason(asked.method, asked.path))


FEATURE = Wrap("auth", Stage.AUTH, Auth, build, explain=explain, own_paths=True, brings=brings)
