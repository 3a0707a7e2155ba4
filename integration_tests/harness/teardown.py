"""Removing what a run made, however far it came."""
import shutil

from . import btrfs, rgw, session


def local(settings):
    """Filesystem, image, and what the tool and the scripts keep between steps; the logs and a gateway stay."""
    btrfs.release(settings.paths.image, settings.paths.mount)
    for directory in (settings.paths.scratch, settings.paths.lock, settings.state.parent, settings.spool):
        # A state path may be given as run/state.json.
        if directory != settings.paths.run:
            shutil.rmtree(directory, ignore_errors=True)
    settings.paths.run.joinpath("manifest.json").unlink(missing_ok=True)
    settings.state.unlink(missing_ok=True)
    if settings.paths.mount.is_dir() and not any(settings.paths.mount.iterdir()):
        settings.paths.mount.rmdir()


def gateway(settings):
    """The throwaway gateway of this run, where there is one."""
    directory = session.gateway_directory(settings)
    if directory.exists():
        rgw.Gateway(directory).stop()
