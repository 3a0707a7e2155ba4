"""The tools that people use today, over the same pipe into the same sink, where they are installed.

Each as its manual recommends for a large stream: parts of the program's size and four at a time where that can be set,
checks that a sink cannot answer (MD5 as ETag, HEAD of the object) off, nothing compressed. The command is printed."""
import pathlib
import shlex
import shutil

from . import machine, measure

KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true"}


class Peer:
    """A command that reads the stream from its standard input. `prepare` commands run before each run, unmeasured;
    "TURN" in any word becomes a number that no run had before."""

    def __init__(self, name, command, environment, prepare=()):
        self.name, self.command, self.prepare, self.turns = name, command, prepare, 0
        self.environment = {**KEYS, **environment}

    def run(self, feeder):
        self.turns += 1

        def filled(words):
            return [str(word).replace("TURN", str(self.turns)) for word in words]
        for command in self.prepare:
            measure.run(filled(command), environment=self.environment)
        return measure.run(filled(self.command), feeder=feeder, environment=self.environment)


def rclone(home, endpoint, ca_file, size, part):
    return Peer("rclone", [
        "rclone", "rcat", "--config", "/dev/null", "--s3-provider", "Other", "--s3-env-auth", "--s3-endpoint", endpoint,
        "--s3-region", "us-east-1", "--s3-no-check-bucket", "--s3-no-head", "--s3-disable-checksum",
        "--s3-use-multipart-etag=false", "--s3-chunk-size", f"{part >> 20}Mi", "--s3-upload-concurrency", "4",
        *(["--ca-cert", ca_file] if ca_file else []), ":s3:bench/rcloneTURN"], {"HOME": home})


def aws(home, endpoint, ca_file, size, part, crt=False):
    name = "aws-crt" if crt else "aws"
    config = pathlib.Path(home) / name
    # Its own part size (8 MB) and its own ten at a time: what its makers chose. Payloads unsigned as everybody's.
    config.write_text("[default]\ns3 =\n  addressing_style = path\n  payload_signing_enabled = false\n" +
                      ("  preferred_transfer_client = crt\n" if crt else ""), encoding="ascii")
    environment = {"HOME": home, "AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    if ca_file:
        environment["AWS_CA_BUNDLE"] = str(ca_file)
    return Peer(name, ["aws", "s3", "cp", "--quiet", "--endpoint-url", endpoint, "--expected-size", size, "-",
                       "s3://bench/awsTURN"], environment)


def s3cmd(home, endpoint, ca_file, size, part):
    host = endpoint.split("//")[1]
    return Peer("s3cmd", ["s3cmd", "-c", "/dev/null", "put", "-q", "--no-progress", "--host", host, "--host-bucket", host,
                          "--region", "us-east-1", "--access_key", "bench", "--secret_key", "bench-secret",
                          "--multipart-chunk-size-mb", part >> 20,
                          *(["--ssl", "--ca-certs", ca_file] if ca_file else ["--no-ssl"]), "-", "s3://bench/s3cmdTURN"],
                {"HOME": home})


def restic(home, endpoint, ca_file, size, part):
    base = ["restic", "--no-cache", "-q", "-o", "s3.connections=4", *(["--cacert", ca_file] if ca_file else []),
            "-r", f"s3:{endpoint}/bench/resticTURN"]
    return Peer("restic", [*base, "backup", "--stdin", "--stdin-filename", "stream", "--compression", "off"],
                {"HOME": home, "RESTIC_PASSWORD": "bench"}, prepare=[[*base, "init"]])


def why_no_crt():
    """Why the installed aws does not upload its standard input through its CRT client; None when it does."""
    asked = ("import inspect, awscrt.s3, awscli.customizations.s3.factory as factory; "
             "print('is_stream' in inspect.getsource(factory.TransferManagerFactory._compute_transfer_client_type))")
    return {"False": None, "True": "this aws sends standard input through its classic client, whatever is preferred",
            }.get(machine.version_of("/usr/bin/python3", "-c", asked), "this aws comes without its CRT client")


def add_uploads(contest, context, endpoint, ca_file, feeder, size):
    """The peers that work here; the others with the reason."""
    if not context.with_peers:
        return
    home = str(context.peers_home)
    made = [(rclone, {}), (aws, {}), (aws, {"crt": True}), (s3cmd, {}), (restic, {})]
    for make, options in made:
        peer = make(home, endpoint, ca_file, size, context.part_size, **options)
        program = peer.command[0]
        if not shutil.which(program, path=measure.ENVIRONMENT["PATH"]):
            contest.skip(peer.name, f"{program} is not installed (tests/install_dependencies.sh peers)")
            continue
        if options.get("crt") and why_no_crt():
            contest.skip(peer.name, why_no_crt())
            continue
        try:
            peer.run(["head", "-c", "20000000", "/dev/zero"])
        except measure.Failed as problem:
            contest.skip(peer.name, "it does not work with this sink: " + str(problem).strip().splitlines()[-1])
            continue
        version = machine.version_of(program, "version" if program in ("restic", "rclone") else "--version")
        command = shlex.join(map(str, peer.command)).replace(str(ca_file), "CA_FILE")
        contest.add(peer.name, lambda _turn, peer=peer: peer.run(feeder), f"STREAM | {command}   ({version})")


def targets_of(found, tls):
    """Issue 7: at least 2 x below the best peer over http, 1.5 x over https."""
    ratios = {name: ratio["cpu_s_per_gib"]["median"] for name, ratio in found["ratios"].items()
              if name != "product/floor" and "cpu_s_per_gib" in ratio}
    if not ratios:
        return []
    name, ratio = max(ratios.items(), key=lambda pair: pair[1])
    wanted = 1.5 if tls else 2.0
    return [{"name": f"CPU of the best peer ({name.split('/')[1]}) / the program", "value": 1 / ratio,
             "wanted": f">= {wanted}", "met": 1 / ratio >= wanted}]
