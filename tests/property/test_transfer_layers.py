"""Whatever a model holds, written in the other format each file stays what it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.oci import Artifact, Descriptor, Digest, ModelConfig, Role, media
from runner.transfer.layers import DOCKER_TYPES, Format, write_documents

names = st.sampled_from(
    [
        "model.gguf",
        "vision.gguf",
        "style",
        "a/b.gguf",
        "EULA.txt",
        "prompt.txt",
        "read.md",
        "x.json",
    ]
)
layers = st.builds(
    lambda kind, name: Descriptor(kind, Digest.of(name.encode()), 1, {media.FILE_PATH: name}),
    st.sampled_from(sorted(set(DOCKER_TYPES.values()))),
    names,
)


@given(st.lists(layers, min_size=1, max_size=6))
def test_a_modelpack_has_the_same_files_with_the_same_roles(found: list[Descriptor]) -> None:
    artifact = Artifact.of_layers(found)
    pack = write_documents(ModelConfig(), artifact.files, Format.CNCF, is_folder=False)
    again = Artifact.of_layers(pack.layers)
    assert [(f.role, f.blob.digest) for f in again.files] == [
        (f.role, f.blob.digest) for f in artifact.files
    ]
    assert Role.OTHER not in {file.role for file in again.files}
    back = write_documents(ModelConfig(), again.files, Format.DOCKER, is_folder=False)
    assert [layer.media_type for layer in back.layers] == [layer.media_type for layer in found]
