"""How the threads of numerical libraries wait for each other."""

from collections.abc import MutableMapping


def wait_without_spinning(environment: MutableMapping[str, str]) -> None:
    """To be called before torch is imported, with `os.environ`: OpenMP reads it once, when it is loaded.

    Threads that spin while they wait keep the cores from those they wait for: on two cores, two films at once took six
    times what one takes alone. Alone it costs nothing that can be measured. What the user chose stays.
    """
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
