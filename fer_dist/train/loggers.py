"""Trackers of experiments that take a run's curves beside TensorBoard: MLflow and Weights & Biases.

Neither calls a network unless its user points it to a server: MLFLOW_TRACKING_URI, WANDB_MODE. What goes there is what
TensorBoard has, by the same names and at the same steps; of the settings none with a secret. An attempt that goes on
with a run goes on in the run of the tracker.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from fer_dist.storage.paths import without_secrets

PROJECT = "fer-dist"
MOST_LETTERS = 300
"""Of what a tracker says that failed."""


class Logger(Protocol):
    """A run of a tracker."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write points of curves: name -> value, as they stand after a step."""
        ...

    def close(self, failed: bool) -> None:
        """End this attempt. failed: before the last step."""
        ...


class Loggers:
    """Those of one attempt. One that fails says so in a line, and is left out from then on: the training goes on."""

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        run: tuple[str, str],
        settings: Mapping[str, Any],
        warn: Callable[[str], None],
    ) -> None:
        """names: of OPEN. folder: of the run. run: its name, and the id that tells it from others of that name.

        settings: name -> value, without secrets. warn: shows a line.
        """
        self._warn = warn
        self._open: dict[str, Logger] = {}
        for name in names:
            with self._survived(name):
                self._open[name] = OPEN[name](folder, run, settings)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """As of each of them."""
        for name, logger in list(self._open.items()):
            with self._survived(name):
                logger.scalars(values, step)

    def __enter__(self) -> "Loggers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for name, logger in list(self._open.items()):
            with self._survived(name):
                logger.close(failed=kind is not None)
        self._open.clear()

    @contextlib.contextmanager
    def _survived(self, name: str) -> Any:
        try:
            yield
        # A tracker raises whatever its server, its files and its version make of a call, and none of it is the run's.
        except Exception as error:
            self._open.pop(name, None)
            said = " ".join(without_secrets(f"{type(error).__name__}: {error}").split())[:MOST_LETTERS]
            self._warn(f"--run.loggers {name}: {said}; the training goes on without it")


class MLflow:
    """A run in the experiment fer-dist of MLflow: at MLFLOW_TRACKING_URI, else in files in the run's folder mlflow/."""

    def __init__(self, folder: Path, run: tuple[str, str], settings: Mapping[str, Any]) -> None:
        # Usage statistics, which it would send from anywhere.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # It advises against files for many users of one store; here a run has its own.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        name, number = run
        place = os.environ.get("MLFLOW_TRACKING_URI") or f"{folder.absolute().as_uri()}/mlflow"
        self._client = MlflowClient(tracking_uri=place)
        experiment = self._client.get_experiment_by_name(PROJECT)
        where = experiment.experiment_id if experiment else self._client.create_experiment(PROJECT)
        known = self._client.search_runs([where], f"tags.`fer_dist.run` = '{number}'", max_results=1)
        if known:
            self._run = known[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
        else:
            self._run = self._client.create_run(where, run_name=name, tags={"fer_dist.run": number}).info.run_id
        with contextlib.suppress(MlflowException):
            # Of a run that goes on, what may differ stays as it was first: MLflow lets no parameter change.
            self._client.log_batch(self._run, params=[Param(key, str(value)) for key, value in settings.items()])

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        self._client.log_batch(self._run, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")


class WandB:
    """A run in the project fer-dist of Weights & Biases: offline in the run's folder wandb/, unless WANDB_MODE is set.

    `wandb sync FOLDER/wandb/offline-run-*` sends it later; several attempts have one id.
    """

    def __init__(self, folder: Path, run: tuple[str, str], settings: Mapping[str, Any]) -> None:
        mode: Any = os.environ.get("WANDB_MODE") or "offline"
        if mode == "offline":
            # It would report its own faults.
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        name, number = run
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=number,
            name=name,
            dir=str(folder),
            mode=mode,
            # Offline it cannot look for the run, and says so; the id joins them when they are sent.
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            config=dict(settings),
            # The line that started this may hold a secret, and what stands on the terminal is the user's.
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                save_code=False,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_disable_stats=True,
            ),
        )

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


OPEN: dict[str, Callable[[Path, tuple[str, str], Mapping[str, Any]], Logger]] = {"mlflow": MLflow, "wandb": WandB}
