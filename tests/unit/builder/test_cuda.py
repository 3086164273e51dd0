"""The toolkit of Python packages gets the names that a compiler and cmake look for."""

from __future__ import annotations

from pathlib import Path

from native.builder.cuda import link_toolkit
from native.builder.plan import Toolkit


def test_links_give_the_packages_files_the_names_of_a_toolkit(tmp_path: Path) -> None:
    wheels = tmp_path / "nvidia" / "cu13"
    for file in ("bin/nvcc", "include/cublas_v2.h", "nvvm/bin/cicc", "lib/libcublas.so.13",
                 "lib/libcudart_static.a"):  # fmt: skip
        (wheels / file).parent.mkdir(parents=True, exist_ok=True)
        (wheels / file).write_text(file)
    links = tmp_path / "links"
    for _ in range(2):  # the second time over the first
        toolkit = link_toolkit(wheels, links)
    assert toolkit == Toolkit(str(links), 13, rpath=str(wheels / "lib"))
    assert (links / "bin" / "nvcc").read_text() == "bin/nvcc"
    assert sorted(path.name for path in (links / "lib64").iterdir()) == [
        "libcublas.so",
        "libcublas.so.13",
        "libcudart_static.a",
    ]
    assert (links / "lib" / "libcublas.so").read_text() == "lib/libcublas.so.13"
    assert not (links / "cccl").exists()
