"""Every setting, once: frozen dataclasses whose fields carry their help; checks.py refuses what cannot be.

At the end: which of them may be others when a run goes on, and which it chooses by itself and then keeps.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from fer_dist.errors import InputError
from fer_dist.storage.paths import OnDisk, PathOrUrl, shown

Views = Literal["expand", "fold", "random_one", "centre"]
Compile = Literal["auto", "off", "on", "graphs"]
Precision = Literal["auto", "bf16", "fp16", "tf32", "fp32"]
FixedDecoder = Literal["auto", "cpu", "cuda", "hardware"]
Decoder = Literal[FixedDecoder, "shared"]


@dataclass(frozen=True)
class DataConfig:
    """What is read, and how an image becomes crops."""

    train: PathOrUrl = ""
    """Training shards: a folder (OUT/train of `fer-dist shards build`), a pattern (faces-train-{000000..000063}.tar, or
    *.tar), a manifest, or any of these at a URL (s3://, gs://, https://)."""

    val: PathOrUrl = ""
    """Validation shards, scored each epoch; `--val-fraction` cuts them from train. No test split. Given as train."""

    cache: OnDisk = ""
    """Folder on a disk of this node for shards that come from a URL; its processes and runs may share it.
    Empty: fer-dist/shards in the user's cache folder ($XDG_CACHE_HOME or ~/.cache)."""

    cache_gb: float = 50.0
    """Most gigabytes in that folder. What was least recently used is removed for what is needed next."""

    prefetch: int = 4
    """Threads of each worker that fetch the next shards from a URL while the current ones are read. 0: none."""

    size: int = 256
    """Side to which each image is resized, in pixels. The study's input size."""

    crop: int = 224
    """Side of the crops that the network sees, in pixels."""

    views: Views = "expand"
    """Crops of an image: expand (five, each with the label), fold (five, their logits averaged), random_one (of the
    five), centre."""

    rotate_degrees: float = 30.0
    """Each image is rotated by a random angle within plus or minus this. Corners that come in are black."""

    brightness: float = 0.2
    """Brightness is scaled by a random factor within 1 plus or minus this."""

    contrast: float = 0.2
    """Contrast (about grey 128) is scaled by a random factor within 1 plus or minus this."""

    saturation: float = 0.2
    """Saturation is scaled by a random factor within 1 plus or minus this."""

    hue: float = 0.05
    """Hue turns by a random share of a full turn within plus or minus this."""

    flip: bool = False
    """Mirror half of the images left to right. The study does not say that it did."""

    drop_extra: bool = False
    """Leave out images of emotions that the model does not have, instead of stopping."""

    leave_out: OnDisk = ""
    """File of images to leave out of train and val, as `fer-dist shards audit --write-clean` writes it."""

    random_labels: bool = False
    """Train on labels drawn at random, as frequent as the set's: a control, which can learn images by heart alone. For
    --control of `fer-dist explain`."""

    lanes: int = 0
    """Interleaved streams of the epoch's order that each batch draws from; divides the batch size, and at least one for
    each worker. 0: the largest divisor of the batch size that is at most 128; a larger one where that is small, as of a
    prime number, and the tars are sorted by class. Of 290,000 sorted images 20 lanes left neighbouring batches alike
    (correlation 0.95), 128 did not."""

    block: int = 0
    """Samples of a lane that are shuffled together, at least. More mixes further, reads less in sequence, and keeps
    more tars open. 0: 4,096, or as many more as tars that are sorted by class need so that neighbouring batches are not
    alike, by what the manifest counts in each: `fer-dist bench shuffle`."""

    on_bad: Literal["stop", "skip"] = "stop"
    """An image that does not decode ends the run, or is left out of its batch and counted. Either way it is named."""

    threads: int = 0
    """Threads that decode and augment, for each worker. 0: chosen from the worker's cores, its device and the network,
    as train.threads; at most 8."""

    decoder: Decoder = "auto"
    """What decodes the images. cpu: the host's cores, also for a GPU. cuda: a GPU's own cores, as far as they can
    (nvJPEG; PNG is left to the host). hardware: its JPEG engine for all images that it takes. shared: engine and cores
    share each batch as DALI does by default (65 %); perhaps the fastest, but which of them an image meets, and so its
    pixels, depends on its batch. auto: cuda on a GPU, else cpu; evaluation takes it for shared. All smooth colours as
    the CPU does: without, a simulation is off by 1.5 grey levels at 24 px, 0.9 at 64 and 0.4 at 224. On a GPU neither
    rates nor pixels were measured so far: `fer-dist bench gpu` does."""

    fused: bool = True
    """Training images are colour-jittered before they are enlarged, and rotated by a faster operator that enlarges as
    well: two to four times as fast on a CPU, and on average within one grey level of each step by itself."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted from each channel after scaling to 0..1. ImageNet's."""

    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Divides each channel after that. ImageNet's."""


@dataclass(frozen=True)
class CacheFlags:
    """Where a command that reads sets keeps what comes from a URL."""

    cache: OnDisk = ""
    """Folder on a disk of this node for shards that come from a URL. Empty: as --data.cache of training."""

    cache_gb: float = DataConfig.cache_gb
    """Most gigabytes in that folder."""

    @property
    def data(self) -> DataConfig:
        """As settings of reading."""
        return DataConfig(cache=self.cache, cache_gb=self.cache_gb)


@dataclass(frozen=True)
class ModelConfig:
    """The network: the SE-ResNet-18 of the study and what may be varied in it, or another one."""

    network: str = "seresnet18"
    """seresnet18; timm:NAME, a network of timm (extra timm), as timm:resnet18; or package.module:function, your own: a
    function (classes: int) -> nn.Module from images [B, 3, H, W] to logits [B, K]. A method parts() of it, lists of
    modules from the input to the head, serves train.freeze and train.layer_decay."""

    pretrained: OnDisk = ""
    """A .safetensors file of weights to start from, as others wrote it, by the names that the network's tensors have. A
    head of other classes is drawn anew. A run of ours is a start as --train.init-from."""

    emotions: str = "seven"
    """The classes: seven, the study's; eight, those and contempt; or names of your own with commas between, in the
    order of the outputs, as weak,engaged,pain. Case and blanks do not count, and happy is happiness."""

    width: int = 64
    """Of seresnet18: channels of the first stage; the others have 2, 4 and 8 times as many. 64 is ResNet-18; fewer for
    trials."""

    reduction: int = 16
    """Of seresnet18: r of squeeze and excitation, whose hidden layer has C / r channels. 16 is forced by 11.27 M
    parameters."""

    bias: bool = False
    """Of seresnet18: whether the two layers of the excitation have a bias. Without: 11,267,143 parameters; with:
    11,269,183."""


@dataclass(frozen=True)
class TrainConfig:
    """The optimisation."""

    epochs: int = 20
    """Passes over the training split."""

    batch_size: int = 100
    """Images for each optimiser step, over all workers. The study's 100, read as images, not crops."""

    micro_batch: int = 0
    """Images that a worker puts through the network at once (gradient accumulation). 0: its whole share. Batch
    statistics are of what goes through at once, so another number trains another network."""

    lr: float = 0.01
    """Learning rate at the start (after the warm-up)."""

    momentum: float = 0.9
    """Momentum of SGD."""

    nesterov: bool = False
    """Nesterov's form of the momentum."""

    weight_decay: float = 1e-4
    """Weight decay; not applied to normalisation layers and biases."""

    schedule: Literal["step", "cosine", "exponential", "constant"] = "step"
    """How the rate falls: by gamma every step_epochs, along a half cosine to 0, by gamma each epoch, or not."""

    step_epochs: float = 10.0
    """Epochs between two drops of the step schedule."""

    gamma: float = 0.0
    """Factor of a drop (step), or of an epoch (exponential). 0: a drop to a tenth; each epoch by as much as makes a
    hundredth of lr after the last one, as two drops do."""

    warmup_epochs: float = 0.0
    """Epochs in which the learning rate rises linearly to lr."""

    loss: Literal["hard", "soft"] = "hard"
    """Target of an image: its emotion, or the shares of emotions that its soft label gives, where it has one."""

    label_smoothing: float = 0.0
    """Share of each target that is spread evenly over all emotions."""

    precision: Precision = "auto"
    """Arithmetic of the forward and backward pass; weights, statistics and the optimiser stay in float32. auto: bf16 on
    CUDA from compute capability 8.0 and on a CPU with AVX512-BF16 or AMX, fp16 on CUDA from 7.0, else fp32, as all
    workers can. tf32: float32 with inputs of 10 bits, from 8.0; fp32 is whole float32 in convolutions too."""

    threads: int = 0
    """Threads of torch on a CPU, for each worker. 0: OMP_NUM_THREADS where it is set, else chosen from the worker's
    cores and the network. More or fewer round otherwise: weights differ in their last bits."""

    compile: Compile = "auto"
    """Compile the network with torch.compile, for whole batches; graphs: to CUDA graphs as well, for small batches.
    auto: on for CUDA where the steps may take more than ten minutes uncompiled. Numbers are rounded otherwise."""

    strategy: Literal["ddp", "deepspeed"] = "ddp"
    """How workers share the work. ddp: each holds the whole network and optimiser. deepspeed: see zero_stage."""

    zero_stage: Literal[0, 1, 2] = 1
    """With deepspeed, what is spread over the workers: nothing (0), the optimiser (1), the gradients as well (2)."""

    deepspeed_config: OnDisk = ""
    """JSON file of DeepSpeed's settings, over ours (buckets, overlap, gradient_clipping). Each worker reads it."""

    compress: Literal["none", "bf16"] = "none"
    """Send gradients in bfloat16: half the bytes, for slow networks (25 Gb/s and below). Weights stay in float32, and
    become others than without."""

    freeze: int = 0
    """Parts of the network that stay as they are: 1, the first convolution; 2 to 5, and a stage more; 0, none."""

    layer_decay: float = 1.0
    """Learning rate of each part as a share of that of the part behind it; the head has lr itself. 1: all alike."""

    seed: int = 0
    """Seed of the weights, the order and the augmentation."""

    init_from: PathOrUrl = ""
    """Run folder or .safetensors file whose weights are the start. The optimiser starts fresh."""

    save_every_steps: int = 0
    """Steps between two checkpoints, beside the one at the end of each epoch. 0: only those."""

    keep_last: int = 2
    """Checkpoints that are kept, the newest ones; the best one is kept beside them."""

    log_every: int = 10
    """Steps between two points of the training curves, and two looks at the loss."""


@dataclass(frozen=True)
class RunConfig:
    """Where it runs and where the results go. May differ when a run is resumed."""

    root: PathOrUrl = "runs"
    """Folder that holds the run folders, or a URL of a store (s3://bucket/runs, gs://...), to which they are sent
    beside the training. On several hosts a URL, or a folder that all of them see."""

    name: str = ""
    """Name of the run folder. Empty: the preset's name and the time."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the network and the images. auto: CUDA where there is one."""

    scratch: OnDisk = ""
    """Folder on a local disk for the copy of a run whose root is a URL.
    Empty: fer-dist/runs in the user's cache folder ($XDG_CACHE_HOME or ~/.cache)."""

    timeout_seconds: float = 600.0
    """How long ranks wait for one of them before they give it up, and Ray starts all anew: twice as long as a worker
    waits for a store."""

    loggers: str = "tensorboard"
    """What takes the curves, separated by commas: tensorboard (in any case, for reports read its files), mlflow, wandb.
    Those two write into the run folder and call no network, unless MLFLOW_TRACKING_URI or WANDB_MODE says otherwise."""

    ledger: bool = False
    """Write the keys of each step, in their order, to ledger/<rank>.tsv: proof of what was trained on."""


@dataclass(frozen=True)
class RayConfig:
    """Ray. May differ when a run is resumed."""

    workers: int = 0
    """Ray workers. 0: this process alone, or the torchrun group that it is part of; Ray is not imported."""

    min_workers: int = 0
    """Train with this few where the cluster holds no more, and grow from a checkpoint as nodes come. 0: ray.workers."""

    resize_seconds: float = 60.0
    """Seconds between two looks for nodes that came, where min_workers is set."""

    wait: bool = False
    """Where the cluster cannot hold the workers, wait for nodes that will come instead of stopping."""

    address: str = ""
    """Address of a Ray cluster. Empty: that of the Ray job that this runs in, or else a cluster of its own."""

    cpus_per_worker: float = 0.0
    """CPU cores reserved for each worker. 0: 8 with a GPU, 1 without."""

    resources: dict[str, float] = field(default_factory=dict)
    """What each worker reserves beside CPU and GPU, by the cluster's own names: accelerator_type:H100 0.001 disk 1."""

    max_failures: int = 3
    """How often a died worker is replaced, and the run goes on from its last checkpoint, before it is given up."""


@dataclass(frozen=True)
class Config:
    """The whole configuration of a training run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    run: RunConfig = field(default_factory=RunConfig)
    ray: RayConfig = field(default_factory=RayConfig)


def fixed_decoder(decoder: Decoder) -> FixedDecoder:
    """The decoder of an evaluation: never one that gives an image other pixels in another batch."""
    return "auto" if decoder == "shared" else decoder


def with_settings(config: Config, settings: dict[str, Any]) -> Config:
    """The configuration with other values of some settings. settings: as `train.lr` -> value."""
    for name, value in settings.items():
        section, _, item = name.partition(".")
        changed = dataclasses.replace(getattr(config, section), **{item: value})
        config = dataclasses.replace(config, **{section: changed})
    return config


def value_of(config: Config, name: str) -> Any:
    """The value of a setting. name: as `train.lr`."""
    section, _, item = name.partition(".")
    return getattr(getattr(config, section), item)


@dataclass(frozen=True)
class EvaluateConfig:
    """Which models on which sets."""

    models: tuple[PathOrUrl, ...]
    """Run folders, also at URLs, or files: .safetensors (their results then go beside them), and .onnx, also of others
    (theirs go to FILE.scores)."""

    data: tuple[PathOrUrl, ...]
    """Sets of shards: folders, patterns in one, manifests, or any of these at a URL, as for --data.train; or folders
    that hold several: OUT for every split."""

    checkpoint: str = "last"
    """Which checkpoint of each run: last, best, or a step."""

    network: tuple[str, ...] = ()
    """Networks of your own that models name, as package.module:function. A file alone has nothing imported."""

    labels: str = ""
    """Of ONNX files of others, as the next six: the classes in the order of the outputs, as anger,fear,happiness. Files
    of fer-dist export say all of this themselves."""

    input_size: int = 0
    """Side of its input in pixels, to which the whole image is resized. 0: as its file says."""

    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    """Colours of its input, in their order."""

    layout: Literal["nchw", "nhwc"] = "nchw"
    """Axes of its input: [batch, channels, height, width], or the channels last."""

    mean: tuple[float, ...] = ()
    """Subtracted from each channel after scaling to 0..1, in the order red, green, blue; one number is for all. 0 where
    nothing is subtracted."""

    std: tuple[float, ...] = ()
    """Divides each channel after that. 1 for inputs from 0 to 1, 0.003921569 (1/255) for inputs from 0 to 255."""

    outputs: Literal["logits", "probabilities"] = "logits"
    """What it gives: probabilities where a softmax is its last step."""

    batch_size: int = 256
    """Images that go through the network at once. The scores do not depend on it."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the models run. auto: CUDA where there is one."""

    threads: int = 0
    """Threads that decode. 0: one for each core, at most 8."""

    decoder: FixedDecoder = "auto"
    """What decodes the images, as --data.decoder of training; auto: cuda on a GPU, else cpu."""

    drop_extra: bool = False
    """Leave out images of emotions that a model does not have, instead of stopping."""

    leave_out: OnDisk = ""
    """File of images to leave out of the sets, as `fer-dist shards audit --write-clean` writes it."""

    on_bad: Literal["stop", "skip"] = "stop"
    """An image that does not decode: stop, or skip (it is counted and has no prediction)."""

    ray: RayConfig = field(default_factory=RayConfig)
    """Where it runs: here, or as tasks on Ray."""

    cache: OnDisk = ""
    """Folder on a disk of this node for shards that come from a URL. Empty: as --data.cache of training."""

    cache_gb: float = DataConfig.cache_gb
    """Most gigabytes in that folder."""

    @property
    def reading(self) -> DataConfig:
        """As settings of reading."""
        return DataConfig(
            drop_extra=self.drop_extra,
            leave_out=self.leave_out,
            on_bad=self.on_bad,
            cache=self.cache,
            cache_gb=self.cache_gb,
        )


@dataclass(frozen=True)
class ExplainConfig:
    """Where a network looks, on which sets, and how closely."""

    data: tuple[PathOrUrl, ...]
    """Sets of shards, as for --data of evaluate."""

    checkpoint: str = "last"
    """Which checkpoint: last, best, or a step."""

    network: tuple[str, ...] = ()
    """A network of your own that the model names, as package.module:function. A file alone has nothing imported."""

    samples: int = 1000
    """Images of each set, at most: those whose keys have the smallest hashes, the same for each network. 0: all."""

    methods: tuple[str, ...] = ("grad-cam",)
    """Attribution: grad-cam, hirescam, integrated-gradients (16 steps), occlusion, or none. All from captum (extra
    explain)."""

    reduction: Literal["mean", "weighted", "strongest", "before"] = "mean"
    """How the channels of a feature map become one: their mean after SE, as the study's; weighted by the gates; the
    mean of the 16 strongest; or their mean before SE."""

    fills: tuple[Literal["mean", "blur", "noise"], ...] = ("mean",)
    """What a region is hidden by: the image's mean colour, its blur, or noise. Each takes 24 passes."""

    faithfulness_samples: int = 100
    """Images whose maps are held against what the network does when their pixels are hidden. Each takes 14 passes for
    each method, each of six controls, and the method on each network beside this one."""

    points: Literal["auto", "template"] = "auto"
    """What the regions of a face are placed by. auto: the landmarks of the set, else five points that the detector of
    shards build --detect finds (extra faces), else, as template does for all, a template for aligned faces."""

    control: PathOrUrl = ""
    """A run of the same network, trained on random labels (--data.random-labels of `fer-dist train`): each method is
    shown on it as well. Empty: beside the network with random weights alone."""

    references: int = 10
    """Networks with random weights against which the study's conclusions are held. 0: the conclusions are left out."""

    reference_samples: int = 200
    """Images that each of them is shown. Each takes 11 passes for each network."""

    seed: int = 0
    """Of random maps, weights, places and permutations."""

    batch_size: int = 32
    """Images at once."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs. auto: CUDA where there is one."""

    threads: int = 0
    """Threads that decode. 0: one for each core, at most 8."""

    drop_extra: bool = False
    """Leave out images of emotions that the model does not have, instead of stopping."""

    on_bad: Literal["stop", "skip"] = "stop"
    """An image that does not decode: stop, or skip."""

    ray: RayConfig = field(default_factory=RayConfig)
    """Where it runs: here, or each set as a task on Ray."""

    cache: OnDisk = ""
    """Folder on a disk of this node for shards that come from a URL. Empty: as --data.cache of training."""

    cache_gb: float = DataConfig.cache_gb
    """Most gigabytes in that folder."""

    @property
    def reading(self) -> DataConfig:
        """As settings of reading."""
        return DataConfig(drop_extra=self.drop_extra, on_bad=self.on_bad, cache=self.cache, cache_gb=self.cache_gb)


@dataclass(frozen=True)
class ExportConfig:
    """How a network is handed on, and what its file is held against."""

    format: Literal["onnx", "pt2"] = "onnx"
    """onnx, for onnxruntime and many others (extra export), or pt2, torch.export's own, which holds pickles: load only
    one that you trust."""

    out: OnDisk = ""
    """File to write. Empty: RUN/export/NAME.onnx, or .pt2; of a .safetensors file beside it."""

    data: tuple[PathOrUrl, ...] = ()
    """Sets of shards over which the file is held against the run, as for --data of evaluate. None: drawn faces."""

    softmax: bool = False
    """The file gives probabilities, in place of logits."""

    int8: bool = False
    """Of onnx: a second file in 8-bit integers, by onnxruntime's static quantisation, and what that costs on --data."""

    calibration: PathOrUrl = ""
    """With int8: a set of shards, train or val, whose images give the ranges of the integers."""

    calibration_samples: int = 512
    """Images of it, at most: those whose keys have the smallest hashes. 0: all."""

    checkpoint: str = "last"
    """Which checkpoint: last, best, or a step."""

    network: tuple[str, ...] = ()
    """A network of your own that the model names, as package.module:function. A file alone has nothing imported."""

    batch_size: int = 64
    """Images at once while the file is held against the run."""

    threads: int = 0
    """Threads that decode. 0: one for each core, at most 8."""

    drop_extra: bool = False
    """Leave out images of emotions that the model does not have, instead of stopping."""

    on_bad: Literal["stop", "skip"] = "stop"
    """An image that does not decode: stop, or skip."""

    cache: OnDisk = ""
    """Folder on a disk of this node for shards that come from a URL. Empty: as --data.cache of training."""

    cache_gb: float = DataConfig.cache_gb
    """Most gigabytes in that folder."""

    @property
    def reading(self) -> DataConfig:
        """As settings of reading."""
        return DataConfig(drop_extra=self.drop_extra, on_bad=self.on_bad, cache=self.cache, cache_gb=self.cache_gb)


@dataclass(frozen=True)
class PredictConfig:
    """What a network says of the faces in images and video, and how they are found."""

    checkpoint: str = "last"
    """Which checkpoint: last, best, or a step."""

    network: tuple[str, ...] = ()
    """A network of your own that the model names, as package.module:function. A file alone has nothing imported."""

    faces: str = "auto"
    """Where the faces are: detect (found and cut as `shards build --detect` does, by the crop rule of the training set;
    needs the extra faces), none (each image is one face, cut already), or a csv file of boxes with the columns file, x,
    y, width, height and perhaps frame. auto: none for shards, else detect."""

    smallest_face: int = 24
    """Where faces are found: those below so many pixels on their longer side count as none."""

    detect_size: int = 640
    """Where faces are found: pixels of the longer side in which a larger image is looked at."""

    frames_per_second: float = 0.0
    """Frames of a video that are looked at, in each second of it. 0: all."""

    emotions: str = ""
    """The only emotions that there can be, with commas between; the others are masked, and the rest sums to 1. Empty:
    all that the model has."""

    min_confidence: float = 0.0
    """Probability below which the emotion is `unsure`; the probabilities stay."""

    prior: str = ""
    """How frequent each emotion is where the images come from: even (the training set's own prior is taken away), or
    a share for each emotion that there can be, as happiness=3,neutral=1 where these are all; they need not sum to 1.
    Empty: as in the training set."""

    batch_size: int = 128
    """Faces that go through the network at once, on a CPU as many times as there are threads."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs. auto: CUDA where there is one."""

    threads: int = 0
    """Threads that read images and find faces, and as many that decode crops. 0: one for each core, at most 8."""

    parts: OnDisk = ""
    """Folder for the rows as parquet files: one for 500 images, a video or a shard, each whole. What stands there is
    not predicted again, so that a prediction that was stopped goes on. Files have absolute paths there."""

    ray: RayConfig = field(default_factory=RayConfig)
    """Where it runs: here, or as tasks on Ray, which write parts."""

    cache: OnDisk = ""
    """Folder on a disk of this node for shards that come from a URL. Empty: as --data.cache of training."""

    cache_gb: float = DataConfig.cache_gb
    """Most gigabytes in that folder."""

    @property
    def reading(self) -> DataConfig:
        """As settings of reading."""
        return DataConfig(on_bad="skip", cache=self.cache, cache_gb=self.cache_gb)


@dataclass(frozen=True)
class RobustnessSettings:
    """How a model is tested on corrupted images and occluded faces."""

    samples: int = 1000
    """Images of the set, at most: those whose keys have the smallest hashes, the same for each model and seed.
    Each goes through the network 96 times. 0: all."""

    seed: int = 0
    """Seed of noise, weather, directions and places."""

    batch_size: int = 64
    """Images that are perturbed and predicted at once. Random fields of a batch of 64 at 224 pixels take 80 MB each."""

    threads: int = 0
    """Threads that decode. 0: one for each core, at most 8."""

    on_bad: str = "stop"
    """An image that does not decode: stop, or skip."""

    decoder: FixedDecoder = "auto"
    """What decodes the images, as --data.decoder of training."""

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise InputError(f"--robustness-samples {self.samples}: give a number of images, or 0 for all of a set")


@dataclass(frozen=True)
class CropSettings:
    """How it is measured what a wrong crop costs."""

    samples: int = 1000
    """Images of the set, at most: those whose keys have the smallest hashes, the same for each model. 0: all."""

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise InputError(f"--crops-samples {self.samples}: give a number of images, or 0 for all of a set")


def to_json(config: Config) -> dict[str, Any]:
    """The configuration as nested dicts, ready for json; with the secrets that its URLs hold."""
    return dataclasses.asdict(config)


def to_shown_json(config: Config) -> dict[str, Any]:
    """The same for what is kept or printed: its URLs without user, password and query."""
    return {
        section: {name: shown(value) if isinstance(value, str) else value for name, value in values.items()}
        for section, values in to_json(config).items()
    }


def from_json(content: dict[str, Any]) -> Config:
    """The configuration that `to_json` made; settings that are not in it keep their defaults.

    It comes from another process of this very version: what a file holds is read as a record.
    """
    sections = {}
    for section in dataclasses.fields(Config):
        values = content.get(section.name, {})
        kind = type(getattr(Config(), section.name))
        sections[section.name] = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    return Config(**sections)


def unknown_settings(content: dict[str, dict[str, Any]]) -> list[str]:
    """The settings of a kept configuration that this version does not have, as `train.lr`."""
    known = {f"{section}.{name}" for section, values in to_json(Config()).items() for name in values}
    return sorted({f"{section}.{name}" for section, values in content.items() for name in values} - known)


MAY_DIFFER = {
    "data.threads",
    "data.decoder",
    "data.cache",
    "data.cache_gb",
    "data.prefetch",
    "train.threads",
    "train.log_every",
    "train.keep_last",
    "train.compile",
    "train.strategy",
    "train.zero_stage",
}
"""Settings that change neither the order nor the meaning of a step, beside the sections run and ray: at most how its
numbers are rounded, those of an image's pixels among them."""


AUTOMATIC: dict[str, Any] = {
    "train.precision": "auto",
    "train.compile": "auto",
    "train.threads": 0,
    "data.threads": 0,
}
"""Settings that a run chooses by itself where they have this value, and keeps when it goes on."""


CHOSEN = ("data.lanes", "data.block", "train.gamma")
"""Settings whose 0 leaves them to the run as well: what its set and the other settings give, they give again."""


def keeping_chosen(old: Config, new: Config) -> Config:
    """The new configuration with the old one's value of each of CHOSEN that it leaves to the run."""
    return with_settings(new, {name: value_of(new, name) or value_of(old, name) for name in CHOSEN})


def differences(old: Config, new: Config) -> dict[str, str]:
    """What a resumed run may not change and does: name of the setting -> as `train.lr 0.01 -> 0.1`."""
    found = {}
    for section in ("data", "model", "train"):
        before, after = getattr(old, section), getattr(new, section)
        for item in dataclasses.fields(before):
            name = f"{section}.{item.name}"
            pair = getattr(before, item.name), getattr(after, item.name)
            # What was kept has no secrets, and a new signature of the same address is no difference.
            visible = [shown(str(value)) for value in pair]
            is_open = name in AUTOMATIC and pair[1] == AUTOMATIC[name]
            if name not in MAY_DIFFER and not is_open and pair[0] != pair[1] and visible[0] != visible[1]:
                found[name] = f"{name} {visible[0]} -> {visible[1]}"
    return found


def choices_of(config: Config) -> dict[str, Any]:
    """What a run has chosen of the settings that it may choose: name -> value."""
    values = {name: value_of(config, name) for name in AUTOMATIC}
    return {name: value for name, value in values.items() if value != AUTOMATIC[name]}
