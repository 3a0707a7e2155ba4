"""The keys of sealed backups as age has them (C2SP age.md), without this program and without age: what each is, and in which
forms it could be kept. For tests that look for keys where none may be."""
import base64

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
SEGMENT = 64 * 1024 + 16
NONCE = bytes(12)


def secret_of(identity):
    """The 32 bytes of AGE-SECRET-KEY-1..., whose last six characters are a checksum."""
    bits = "".join(f"{BECH32.index(letter):05b}" for letter in identity.lower().rsplit("1", 1)[1][:-6])
    return bytes(int(bits[at:at + 8], 2) for at in range(0, 256, 8))


def identity_in(text):
    return next(line for line in text.splitlines() if line.startswith("AGE-SECRET-KEY-1"))


def unpadded(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


def derived(key, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def header_of(sealed):
    """The stanzas of X25519 as (share, body), and where the payload's nonce begins."""
    end = sealed.index(b"\n---") + 1
    lines = sealed[:end].decode("ascii").splitlines()
    stanzas = [(unpadded(line.split()[2]), unpadded(lines[at + 1])) for at, line in enumerate(lines) if line.startswith("-> X25519 ")]
    return stanzas, sealed.index(b"\n", end) + 1


def file_key(sealed, secret):
    """By whoever has the secret; proven by opening the first segment. With the key of the payload."""
    private = X25519PrivateKey.from_private_bytes(secret)
    public = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    stanzas, payload = header_of(sealed)
    for share, body in stanzas:
        shared = private.exchange(X25519PublicKey.from_public_bytes(share))
        wrapping = derived(shared, share + public, b"age-encryption.org/v1/X25519")
        try:
            found = ChaCha20Poly1305(wrapping).decrypt(NONCE, body, None)
        except Exception:  # for somebody else
            continue
        key = derived(found, sealed[payload:payload + 16], b"payload")
        segment = sealed[payload + 16:payload + 16 + SEGMENT]
        last = len(sealed) <= payload + 16 + SEGMENT
        plain = ChaCha20Poly1305(key).decrypt(bytes(11) + bytes([last]), segment, None)
        return found, key, plain
    raise AssertionError("it is for somebody else")


def forms(name, secret, identity=None):
    """Each form in which somebody could have kept it."""
    made = {f"{name}, raw": secret, f"{name}, hex": secret.hex().encode(), f"{name}, HEX": secret.hex().upper().encode(),
            f"{name}, base64": base64.b64encode(secret).rstrip(b"=")[:-1]}
    if identity:
        text = identity.rsplit("1", 1)[1].encode()  # the prefix may stand elsewhere
        made |= {f"{name}, Bech32": text.upper(), f"{name}, bech32": text.lower()}
    return made
