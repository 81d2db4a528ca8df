"""Certificates for the tests, made with OpenSSL's command line."""

import ssl
import subprocess


class Authority:
    """A certificate authority in a directory."""

    def __init__(self, directory, name="root"):
        self.directory, self.name = directory, name
        self.certificate = directory / f"{name}.pem"
        self.key = directory / f"{name}.key"
        self.openssl("req", "-x509", *self.new_key(self.key), "-days", "2", "-subj", f"/CN={name}",
                     "-addext", "basicConstraints=critical,CA:TRUE", "-out", self.certificate)

    @staticmethod
    def new_key(path):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path]

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def issue(self, *names):
        """(certificate, key) for DNS names and addresses."""
        stem = self.directory / (names[0].replace("*", "star") + "-" + self.name)
        request, key, certificate = (stem.with_name(stem.name + end)
                                     for end in (".csr", ".key", ".crt"))
        words = ",".join(("IP:" if name[0].isdigit() else "DNS:") + name for name in names)
        self.openssl("req", "-new", *self.new_key(key), "-subj", f"/CN={names[0]}",
                     "-addext", f"subjectAltName={words}", "-out", request)
        extensions = stem.with_name(stem.name + ".ext")
        extensions.write_text(f"subjectAltName={words}\n")
        self.openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                     "-days", "2", "-extfile", extensions, "-out", certificate)
        key.chmod(0o600)
        return str(certificate), str(key)


def pair(issued):
    """What a listener's configuration calls the pair."""
    return {"certificate": issued[0], "key": issued[1]}


def client_context(authority, protocols=(), **options):
    """A context that trusts `authority` alone and offers `protocols` by ALPN."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    for name, value in options.items():
        setattr(context, name, value)
    return context
