"""TLS and SASL, from client properties by Kafka's names."""

import re
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import BadConfiguration

_MECHANISMS = {
    "PLAIN": "PlainLoginModule",
    "SCRAM-SHA-256": "ScramLoginModule",
    "SCRAM-SHA-512": "ScramLoginModule",
}
_OPTION = re.compile(r'\s*([\w.]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
_PEM = re.compile(rb"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)
_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class Sasl:
    """How to authenticate."""

    mechanism: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Tls:
    """How to make sure of the broker, and it of us.

    Attributes:
        trusted: certificates of authorities in PEM; "" for those the system trusts.
        chain, key: our own certificate and its key in PEM, or "".
        names: whether the broker's certificate must be for its name.
    """

    trusted: str
    chain: str
    key: str = field(repr=False)
    key_password: str = field(repr=False)
    names: bool
    versions: tuple[ssl.TLSVersion, ...]

    def context(self) -> ssl.SSLContext:
        """What Python's `ssl` needs.

        Raises:
            BadConfiguration: a certificate or key is not one.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version, context.maximum_version = min(self.versions), max(self.versions)
        context.check_hostname = self.names
        try:
            if self.trusted:
                context.load_verify_locations(cadata=self.trusted)
            else:
                context.load_default_certs()
        except ssl.SSLError as error:
            raise BadConfiguration(
                f"kafka: the trusted certificates can't be read: {error}",
                next_step="check that ssl.truststore.location names PEM certificates",
            ) from error
        if self.chain:
            self._load_own(context)
        return context

    def _load_own(self, context: ssl.SSLContext) -> None:
        try:
            # Python loads keys from files only.
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write(f"{self.key}\n{self.chain}\n")
                file.flush()
                context.load_cert_chain(file.name, password=self.key_password or "")
        except (ssl.SSLError, OSError) as error:
            raise BadConfiguration(
                f"kafka: our own certificate or its key can't be read: {error}",
                next_step="check ssl.keystore.location (PEM: a private key and its certificate chain)"
                " and ssl.key.password",
            ) from error


def sasl_of(given: Mapping[str, str]) -> Sasl:
    """The SASL properties.

    Raises:
        BadConfiguration: they are incomplete, contradict each other, or want what is not supported.
    """
    if "sasl.mechanism" not in given:
        raise BadConfiguration(
            "kafka: sasl.mechanism is missing; Kafka's default, GSSAPI, is not supported",
            next_step=f"use one of {', '.join(_MECHANISMS)}",
        )
    mechanism = given["sasl.mechanism"].upper()
    if mechanism not in _MECHANISMS:
        raise BadConfiguration(
            f"kafka: sasl.mechanism {mechanism} is not supported",
            next_step=f"use one of {', '.join(_MECHANISMS)}",
        )
    username, password = given.get("sasl.username", ""), given.get("sasl.password", "")
    if "sasl.jaas.config" in given:
        username, password = _jaas(given["sasl.jaas.config"], _MECHANISMS[mechanism], mechanism)
    if not username or not password:
        raise BadConfiguration(
            "kafka: SASL needs a user and a password",
            next_step='set sasl.jaas.config: \'org.apache.kafka...LoginModule required username="..."'
            ' password="...";\', or sasl.username and sasl.password (in the environment:'
            " BITLAKE__KAFKA__SASL_PASSWORD)",
        )
    return Sasl(mechanism, username, password)


def _jaas(config: str, module: str, mechanism: str) -> tuple[str, str]:
    name, _, options = config.strip().rstrip(";").partition(" ")
    flag, _, options = options.strip().partition(" ")
    found = {key: _unescaped(quoted) if quoted else bare for key, quoted, bare in _OPTION.findall(options)}
    if not name.endswith(f".{module}") or flag.lower() != "required" or _OPTION.sub("", options).strip():
        raise BadConfiguration(
            "kafka: sasl.jaas.config can't be read",
            next_step=f"for {mechanism} write it as 'org.apache.kafka.common.security."
            f'{"plain" if module.startswith("Plain") else "scram"}.{module} required username="..."'
            ' password="...";\'',
        )
    return found.get("username", ""), found.get("password", "")


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def tls_of(given: Mapping[str, str], base: Path) -> Tls:
    """The TLS properties.

    Raises:
        BadConfiguration: a store is not PEM, a file is missing, or a value is not supported.
    """
    names = given.get("ssl.endpoint.identification.algorithm", "https").strip().lower()
    if names not in ("https", "", "none"):
        raise BadConfiguration(
            f"kafka: ssl.endpoint.identification.algorithm is {names!r}",
            next_step="it is https, or empty not to check names",
        )
    trusted = given.get("ssl.truststore.certificates") or _store(given, "truststore", base)
    own = _store(given, "keystore", base)
    chain = given.get("ssl.keystore.certificate.chain") or own
    key = given.get("ssl.keystore.key") or own
    if "ssl.certificate.location" in given:
        chain = _pem_file(given, "ssl.certificate.location", base)
    if "ssl.key.location" in given:
        key = _pem_file(given, "ssl.key.location", base)
    if bool(chain) != bool(key):
        raise BadConfiguration(
            "kafka: of our own certificate and its private key only one is given",
            next_step="give ssl.keystore.certificate.chain and ssl.keystore.key, or ssl.keystore.location",
        )
    key = key if key != chain else ""
    password = given.get("ssl.key.password") or given.get("ssl.keystore.password", "")
    return Tls(trusted, chain, key, password, names == "https", _versions(given))


def _versions(given: Mapping[str, str]) -> tuple[ssl.TLSVersion, ...]:
    wanted = [part.strip() for part in given.get("ssl.enabled.protocols", "TLSv1.2,TLSv1.3").split(",")]
    if not wanted or any(name not in _VERSIONS for name in wanted):
        raise BadConfiguration(
            f"kafka: ssl.enabled.protocols is {given['ssl.enabled.protocols']!r}",
            next_step=f"it is a list of {', '.join(_VERSIONS)}",
        )
    return tuple(_VERSIONS[name] for name in wanted)


def _store(given: Mapping[str, str], store: str, base: Path) -> str:
    name = f"ssl.{store}.location"
    kind = given.get(f"ssl.{store}.type", "").upper()
    if kind not in ("", "PEM"):
        raise _not_pem(name, kind)
    return _pem_file(given, name, base) if name in given else ""


def _pem_file(given: Mapping[str, str], name: str, base: Path) -> str:
    path = base / given[name]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadConfiguration(
            f"kafka: {name} {path} can't be read: {error.strerror}",
            next_step="check the name and who may read it",
        ) from error
    blocks = _PEM.findall(content)
    if not blocks:
        raise _not_pem(name, "JKS or PKCS12" if "store" in name else "another format")
    return b"\n".join(blocks).decode("ascii", "replace")


def _not_pem(name: str, kind: str) -> BadConfiguration:
    store = "keystore" if "keystore" in name else "truststore"
    what = "-nodes" if store == "keystore" else "-nokeys"
    return BadConfiguration(
        f"kafka: {name} is {kind}; certificates are read as PEM only",
        next_step=f"convert it: `keytool -importkeystore -srckeystore {store}.jks -destkeystore {store}.p12"
        f" -deststoretype PKCS12`, then `openssl pkcs12 -in {store}.p12 {what} -out {store}.pem`, and set"
        f" ssl.{store}.type: PEM and ssl.{store}.location: {store}.pem",
    )
