"""What attempts said of an endpoint since the last tally: what processes tell each other, a few numbers each second."""

from typing import Final

from msgspec import Struct

from openrouter_gateway.core.health import Verdict

_MOST_RUNS: Final = 64
_KEPT_RUNS: Final = 16


class Tally(Struct, omit_defaults=True):
    """One endpoint's attempts.

    `runs`: verdicts in their order, with how many of each came in a row. `latencies` and `throughputs`: how many
    measurements fell into which bin of `windows.bin_of`. `cooling_s`: the pause that it still asks for. `probing`: it
    is being tried whether its circuit can close.
    """

    runs: list[tuple[Verdict, int]] = []
    latencies: dict[int, int] = {}
    throughputs: dict[int, int] = {}
    tool_requests: int = 0
    tool_successes: int = 0
    cooling_s: float = 0.0
    probing: bool = False

    def add(self, verdict: Verdict, latency: int | None, throughput: int | None, *, tools_ok: bool | None) -> None:
        """Count an attempt."""
        self.probing = False
        self._add_run(verdict)
        if latency is not None:
            self.latencies[latency] = self.latencies.get(latency, 0) + 1
        if throughput is not None:
            self.throughputs[throughput] = self.throughputs.get(throughput, 0) + 1
        if tools_ok is not None:
            self.tool_requests += 1
            self.tool_successes += tools_ok

    def _add_run(self, verdict: Verdict) -> None:
        """Where verdicts take turns too often, the older ones lose their order."""
        runs = self.runs
        if runs and runs[-1][0] == verdict:
            runs[-1] = (verdict, runs[-1][1] + 1)
            return
        runs.append((verdict, 1))
        if len(runs) > _MOST_RUNS:
            older, newer = runs[:-_KEPT_RUNS], runs[-_KEPT_RUNS:]
            counts: dict[Verdict, int] = {}
            for each, count in older:
                counts[each] = counts.get(each, 0) + count
            self.runs = [*counts.items(), *newer]
