"""``python -m facesim_index`` is ``facesim``."""

from facesim_index.cli.main import main

main(prog_name="facesim")
