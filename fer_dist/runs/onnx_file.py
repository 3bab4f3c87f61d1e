"""Networks in ONNX files, our own exports and those of others, as modules that an evaluation can call.

Such a file is data: it runs no code, loads no library, and may name no other file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fer_dist.config.settings import EvaluateConfig
from fer_dist.data.emotions import class_names
from fer_dist.errors import InputError
from fer_dist.runs.architecture import check_onnx
from fer_dist.runs.network import Network, described
from fer_dist.storage.untrusted import read_regular

NETWORK, OUTPUTS = "network", "outputs"
"""Names in the metadata of our own: the description as a checkpoint has it, and what the file gives."""

OF_OTHERS = "onnx"
"""Their architecture, of which nothing else is known."""

MOST_BYTES = (2 << 30) - 1
"""Of protobuf."""

LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue in grey, as Pillow and OpenCV have it. Source: ITU-R BT.601."""

SUM_TOLERANCE = 1e-3
"""How far from 1 probabilities may add up."""


@dataclass(frozen=True)
class Contract:
    """What a file takes and gives, beside the network's description; the words are those of EvaluateConfig."""

    channels: str = "rgb"
    layout: str = "nchw"
    outputs: str = "logits"


class OnnxModule(nn.Module):
    """A session of onnxruntime that is called as a network: normalised RGB [B, 3, H, W] in, logits [B, K] out.

    It runs where its input lies, on a CPU or by CUDA where onnxruntime has that, and hands numbers over by way of the
    host's memory. Of probabilities it gives the logarithms, whose softmax they are.
    """

    def __init__(self, content: bytes, source: str, network: Network, contract: Contract | None = None) -> None:
        """content: of the file. source: its name, for messages. Raises InputError where it does not fit the rest."""
        super().__init__()
        self._content, self._source, self._contract = content, source, contract or Contract()
        self._sessions: dict[str, Any] = {}
        # What asks a model for its device looks at its first parameter.
        self.place = nn.Parameter(torch.zeros(0), requires_grad=False)
        session = self._session("cpu")
        self._input = session.get_inputs()[0]
        self._check(network)
        first = self._input.shape[0] if self._input.shape else None
        self._batch = first if isinstance(first, int) else 0
        self._try(network)

    def forward(self, x: Tensor) -> Tensor:
        """x: float32 [B, 3, H, W]. Returns logits [B, K]."""
        given = self.answers(x)
        return given if self._contract.outputs == "logits" else given.clamp_min(torch.finfo(given.dtype).tiny).log()

    def answers(self, x: Tensor) -> Tensor:
        """What the file gives, as it is."""
        if self._contract.channels == "bgr":
            x = x.flip(1)
        elif self._contract.channels == "grey":
            x = (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        if self._contract.layout == "nhwc":
            x = x.permute(0, 2, 3, 1)
        session = self._session(x.device.type)
        size = self._batch or len(x)
        parts = []
        for part in x.split(size):
            # A file for batches of one size gets the last one filled up.
            filled = torch.cat([part, part[-1:].expand(size - len(part), -1, -1, -1)])
            (answer, *_) = session.run(None, {self._input.name: filled.contiguous().cpu().numpy()})
            parts.append(torch.from_numpy(answer).flatten(1)[: len(part)])
        return torch.cat(parts).to(x.device)

    def _session(self, kind: str) -> Any:
        if kind not in self._sessions:
            self._sessions[kind] = open_session(self._content, self._source, kind)
        return self._sessions[kind]

    def _check(self, network: Network) -> None:
        """Whether the file's own words on its input agree with what it is to be given."""
        session, shape = self._session("cpu"), self._input.shape
        if len(session.get_inputs()) != 1:
            names = ", ".join(one.name for one in session.get_inputs())[:200]
            raise InputError(f"{self._source}: has the inputs {names}; only networks of one input can be scored")
        if self._input.type != "tensor(float)":
            raise InputError(f"{self._source}: its input is a {self._input.type}; export it with a float32 input")
        colours = 1 if self._contract.channels == "grey" else 3
        side = network.crop
        wanted = [None, side, side, colours] if self._contract.layout == "nhwc" else [None, colours, side, side]
        fits = [known == asked for known, asked in zip(shape, wanted, strict=False) if isinstance(known, int) and asked]
        if len(shape) != len(wanted) or not all(fits):
            told = ["batch", *wanted[1:]]
            raise InputError(
                f"{self._source}: its input is {_spoken(shape)}, and --layout, --channels and --input-size say "
                f"{_spoken(told)}; give those that it has"
            )

    def _try(self, network: Network) -> None:
        """Look at what it makes of two images."""
        side, classes = network.crop, len(network.emotions)
        x = torch.linspace(-1, 1, 2 * 3 * side * side).view(2, 3, side, side)
        try:
            given = self.answers(x)
        except ort_errors() as error:
            raise InputError(f"{self._source}: does not run on images of {side} px ({_first_line(error)})") from None
        if given.shape[1] != classes:
            raise InputError(f"{self._source}: gives {given.shape[1]} numbers for an image, and has {classes} labels")
        if not given.isfinite().all():
            raise InputError(f"{self._source}: gives no numbers; export it again")
        are_shares = bool((given >= 0).all() and ((given.sum(1) - 1).abs() < SUM_TOLERANCE).all())
        if are_shares != (self._contract.outputs == "probabilities"):
            found, other = ("", "probabilities") if are_shares else (" not", "logits")
            raise InputError(
                f"{self._source}: what it gives does{found} add up to 1, as probabilities do; give --outputs {other}"
            )


def load_onnx(path: Path, config: EvaluateConfig) -> tuple[Network, OnnxModule]:
    """The network of an ONNX file, and its description: what its metadata say, or else the flags in config.

    Raises InputError where it is none, is damaged, names other files, or does not fit its description.
    """
    content = read_onnx(path)
    session = open_session(content, str(path), "cpu")
    known = session.get_modelmeta().custom_metadata_map
    if NETWORK in known:
        network = described(known[NETWORK], f"{path}: not an export of fer_dist")
        contract = Contract(outputs=known.get(OUTPUTS, Contract.outputs))
    else:
        network = _given(path, session, config)
        contract = Contract(config.channels, config.layout, config.outputs)
    return network, OnnxModule(content, str(path), network, contract)


def read_onnx(path: Path) -> bytes:
    """The content of an ONNX file that stands alone. Raises InputError where it is none."""
    check_onnx(str(path))
    import onnx
    from google.protobuf.message import DecodeError

    try:
        content = read_regular(path, MOST_BYTES)
        model = onnx.load_from_string(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except DecodeError:
        raise InputError(f"{path}: damaged, or not an ONNX file; export it again") from None
    for message in messages(model):
        if isinstance(message, onnx.TensorProto) and message.data_location == onnx.TensorProto.EXTERNAL:
            raise InputError(
                f"{path}: keeps weights in another file, which is not read; save it as one: "
                "onnx.save(model, path, save_as_external_data=False)"
            )
    return content


def open_session(content: bytes, source: str, kind: str) -> Any:
    """onnxruntime's session of a file, on cpu or cuda, with as many threads as torch. Raises InputError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # It warns of what it makes of a graph; errors come as exceptions.
    options.log_severity_level = 4
    providers: list[Any] = ["CPUExecutionProvider"]
    if kind == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        # Whole float32, as an evaluation by torch.
        providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": "0"}))
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except ort_errors() as error:
        raise InputError(f"{source}: damaged, or not a network that runs here ({_first_line(error)})") from None


def ort_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises: classes that have nothing in common but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))


def _given(path: Path, session: Any, config: EvaluateConfig) -> Network:
    """The description that the flags give of a file of others."""
    needed = {"--labels": config.labels, "--mean": config.mean, "--std": config.std}
    if missing := [flag for flag, value in needed.items() if not value]:
        raise InputError(f"{path}: does not say what it takes and gives; give {', '.join(missing)}")
    emotions = class_names(config.labels.split(","), f"--labels {config.labels[:80]}")
    (first, *_) = session.get_inputs()
    height = first.shape[1 if config.layout == "nhwc" else 2] if len(first.shape) == 4 else None
    side = config.input_size or height
    if not isinstance(side, int) or side < 1:
        raise InputError(f"{path}: its input is {_spoken(first.shape)}; give --input-size, its side in pixels")
    mean, std = (_of_channels(values, flag) for values, flag in ((config.mean, "--mean"), (config.std, "--std")))
    if min(std) <= 0:
        raise InputError(f"--std {' '.join(map(str, config.std))}: divides, and must be above 0")
    if config.channels == "grey" and len({*mean}) + len({*std}) > 2:
        raise InputError("--channels grey: has one channel; give one number for --mean, and one for --std")
    return Network(emotions, side, side, mean, std, width=1, reduction=1, bias=False, architecture=OF_OTHERS)


def _of_channels(values: tuple[float, ...], flag: str) -> tuple[float, float, float]:
    if len(values) not in (1, 3):
        raise InputError(f"{flag}: {len(values)} numbers; give one, or one each for red, green and blue")
    red, green, blue = values if len(values) == 3 else values * 3
    return red, green, blue


def messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all that it holds, however deep."""
    from google.protobuf.message import Message

    waiting = [message]
    while waiting:
        found = waiting.pop()
        yield found
        for field, value in found.ListFields():
            if field.message_type is not None:
                waiting += [value] if isinstance(value, Message) else value


def _spoken(shape: Any) -> str:
    return f"[{', '.join(str(axis)[:20] for axis in shape)}]"


def _first_line(error: Exception) -> str:
    # In front of its own words stands [ONNXRuntimeError] : number : KIND.
    return str(error).rpartition(" : ")[2].splitlines()[0][:200] if str(error) else type(error).__name__
