"""Fixtures that several files share."""

import pytest


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory):
    from tiny_files import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
