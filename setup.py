"""What pyproject.toml cannot say: a wheel holds the workflow's files, too, as `ovnerf/shipped`."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("workflow", "config", "envs")


class BuildWithWorkflow(build_py):
    """Copies the package, then the folders that it needs to run from elsewhere than a clone."""

    def run(self) -> None:
        """Fill the build folder; an editable install uses the files where they are."""
        super().run()
        if self.editable_mode:
            return
        shipped = Path(self.build_lib) / "ovnerf" / "shipped"
        for folder in SHIPPED:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(folder, shipped / folder, ignore=ignored, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithWorkflow})
