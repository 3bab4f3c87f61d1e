"""A network as one file: ONNX, or torch.export's own. Both take batches of any size, and hold facts."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fer_dist.config.settings import EvaluateConfig
from fer_dist.deploy.agreement import Answers
from fer_dist.errors import WorkError
from fer_dist.runs.onnx_file import load_onnx, messages
from fer_dist.storage.writing import write_atomically

INPUT = "images"
METADATA = "metadata.json"
"""Name of the facts in a .pt2 file."""

Facts = dict[str, str]


def write_onnx(path: Path, model: nn.Module, crop: int, facts: Facts) -> Answers:
    """Write an ONNX file, and load it again. facts: become its metadata. Returns what onnxruntime answers with it.

    model: on the CPU, in evaluation mode. crop: side of its input in pixels.
    Raises WorkError where it cannot be exported.
    """
    with _quietly(path):
        program: Any = torch.onnx.export(
            model,
            (_example(crop),),
            dynamo=True,
            dynamic_shapes=(_any_batch(),),
            input_names=[INPUT],
            output_names=[facts["outputs"]],
            external_data=False,
            verbose=False,
        )
    proto = program.model_proto
    for message in messages(proto):
        # Where each node comes from, with the paths of this machine.
        for field in {"doc_string", "metadata_props"} & set(message.DESCRIPTOR.fields_by_name):
            message.ClearField(field)
    write_atomically(path, with_facts(proto, facts))
    return load_onnx(path, EvaluateConfig((), ()))[1].answers


def with_facts(proto: Any, facts: Facts) -> bytes:
    """The content of an ONNX file with these metadata. proto: as onnx reads it."""
    del proto.metadata_props[:]
    for name, text in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, text
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def write_pt2(path: Path, model: nn.Module, crop: int, facts: Facts) -> Answers:
    """As `write_onnx`, torch.export's format. It holds pickles: only what this very call has made is loaded."""
    with _quietly(path):
        program = torch.export.export(model, (_example(crop),), dynamic_shapes=(_any_batch(),))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)
        made = io.BytesIO()
        torch.export.save(program, made, extra_files={METADATA: json.dumps(facts)})
        write_atomically(path, made.getvalue())
        # Not from the path, where another's file could stand by now.
        made.seek(0)
        return torch.export.load(made).module()


WRITERS = {"onnx": write_onnx, "pt2": write_pt2}


def _example(crop: int) -> torch.Tensor:
    # Of two: what is true of one alone would become part of the file.
    return torch.zeros(2, 3, crop, crop)


def _any_batch() -> dict[int, Any]:
    return {0: torch.export.Dim("batch", min=1)}


@contextmanager
def _quietly(path: Path) -> Iterator[None]:
    """Without what torch says of its own parts; what it cannot follow in a network becomes a WorkError."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        except (RuntimeError, ValueError, TypeError) as error:
            said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise WorkError(
                f"{path}: torch.export cannot follow this network ({said[:200]}); its forward must not branch on "
                "values; more with --debug"
            ) from error
        finally:
            logging.disable(before)
