"""Published figures of large runs, worked out again: which agree with each other, and which cannot all be true.

Every figure is of the paper or report named; what is worked out from it is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from bothways.planning.devices import Device, Fleet, device
from bothways.planning.scale import SAVED, SAVED_TO_GO_ON, Scale, best_tokens

NEAR = 0.06
"""Figures are published to two or three digits; WuDao's "about 20 TB" is the coarsest."""
YEAR = 365 * 24.0  # hours


@dataclass(frozen=True, slots=True)
class Claim:
    """A published figure beside the one that follows from others.

    agrees  whether the two should be within NEAR of each other; where they are not, `says` tells what that means
    """

    of: str
    what: str
    unit: str
    published: float
    worked_out: float
    agrees: bool
    says: str
    source: str

    @property
    def ratio(self) -> float:
        return self.worked_out / self.published

    @property
    def holds(self) -> bool:
        """The verdict that is written here is the one that the figures give."""
        return (abs(self.ratio - 1) <= NEAR) == self.agrees


def _days(name: str, count: int, days: float, utilisation: float) -> float:
    """FLOPs that so many devices do in so many days."""
    return Fleet(device(name), count, utilisation).speed * days * 86400


def _reached(flops: float, name: str, hours: float) -> float:
    """The share of the peak, over so many device-hours."""
    return flops / (hours * 3600 * device(name).peak)


def claims() -> list[Claim]:
    """In the order of the models' publication."""
    return [*_gpt3(), *_gopher(), *_lamda(), *_palm(), *_opt(), *_others(), *_sizes()]


def _gpt3() -> list[Claim]:
    flops, one = Scale.of_count(174.6e9).rule(300e9), Fleet(Device("v100", 28e12, 32 * 2**30), utilisation=1.0)
    years = one.hours(3.14e23) / YEAR
    brown, lambda_labs, patterson = "Brown et al. 2020", "Lambda Labs 2020", "Patterson et al. 2021"
    watts = 10_000 * 14.8 * 24 * 330 * 1.1 / 1e9
    return [
        Claim("GPT-3", "FLOPs, 6ND of 174.6B and 300B tokens", "", 3.14e23, flops, True, "", brown),
        Claim("GPT-3", "on one V100 at 28 TFLOPS", "years", 355, years, True, "", lambda_labs),
        Claim(
            "GPT-3", "at 1.48 dollars an hour", "dollars", 4.6e6, years * YEAR * 1.48, True,
            "a lower bound: no run fails, and 28 TFLOPS is what a V100 was hoped to reach", lambda_labs,
        ),
        Claim("GPT-3", "energy: 10,000 V100, 14.8 days, 330 W, overhead 1.1", "GWh", 1.287, watts, True, "", patterson),
        Claim(
            "GPT-3", "28 TFLOPS; reached on 10,000 V100 in 14.8 days", "TFLOPS", 28,
            3.14e23 / (10_000 * 14.8 * 86400) / 1e12, False,
            f"a fifth of the peak (125): {10_000 * 14.8 / 365:.0f} V100-years rather than 355", patterson,
        ),
    ]  # fmt: skip


def _gopher() -> list[Claim]:
    reached = _reached(Scale.of_count(280e9).rule(300e9), "tpu-v3", 4096 * 920)
    return [
        Claim(
            "Gopher", "utilisation, over 4,096 TPUv3 and 920 h", "", 0.325, reached, False,
            "6ND leaves the attention out, and the hours hold what was no training", "Rae et al. 2021",
        )
    ]  # fmt: skip


def _lamda() -> list[Claim]:
    source, trained = "Thoppilan et al. 2022", _days("tpu-v3", 1024, 57.7, 0.565)
    quoted, implied = Scale.of_count(137e9).rule(768e9), 3.55e23 / Scale.of_count(137e9).rule(1.0)
    return [
        Claim("LaMDA", "FLOPs: 1,024 TPUv3, 57.7 days, 56.5 %", "", 3.55e23, trained, True, "", source),
        Claim(
            "LaMDA", "FLOPs of the 768B tokens that are often quoted", "", 3.55e23, quoted, False,
            f"tokens and FLOPs contradict each other: the FLOPs allow {implied / 1e9:.0f}B tokens", source,
        ),
    ]  # fmt: skip


def _palm() -> list[Claim]:
    source, flops = "Chowdhery et al. 2022", Scale.of_count(540.35e9).rule(780e9)
    reached = _reached(flops, "tpu-v4", 6144 * 1200 + 3072 * 336.0)
    return [
        Claim("PaLM 540B", "FLOPs, 6ND of 780B tokens", "", 2.53e24, flops, True, "", source),
        Claim(
            "PaLM 540B", "utilisation, over all 8.4M chip-hours", "", 0.457, reached, False,
            f"45.7 % is that of a step; over the whole run it is {reached:.1%}", source,
        ),
    ]  # fmt: skip


def _opt() -> list[Claim]:
    source, opt = "Zhang et al. 2022", Scale.of_count(175e9)
    return [
        Claim("OPT-175B", "FLOPs, 8ND: recomputed", "", 4.30e23, opt.rule(300e9, recompute=True), True, "", source),
        Claim(
            "OPT-175B", "FLOPs, 6ND", "", 4.30e23, opt.rule(300e9), False,
            "what is published is what the hardware did, not what the model needs", source,
        ),
    ]  # fmt: skip


def _others() -> list[Claim]:
    reached = _reached(Scale.of_count(130e9).rule(400e9), "a100-40", 768 * 60 * 24.0)
    rows = [
        ("BLOOM", 176e9, 366e9, "a100", 1_082_990, 0.318, "Luccioni et al. 2022"),
        ("LLaMA-65B", 65.2e9, 1.4e12, "a100", 1_022_362, 0.477, "Touvron et al. 2023"),
        ("Llama 3.1 405B", 405e9, 15.6e12, "h100", 30.84e6, 0.346, "Grattafiori et al. 2024"),
    ]
    return [
        Claim("GLM-130B", "hardware's share 43.3 % of 32.5 %, by 8ND / 6ND", "", 0.433, 0.325 * 8 / 6, True, "",
              "Zeng et al. 2022"),
        Claim(
            "GLM-130B", "utilisation, over 60 days of 768 A100", "", 0.325, reached, False,
            f"60 days are the most that it can have been: at 32.5 % it is {60 * reached / 0.325:.0f}",
            "Zeng et al. 2022",
        ),
        *(
            Claim(name, f"utilisation, over {hours:,.0f} hours", "", share,
                  _reached(Scale.of_count(weights).rule(tokens), chip, hours), True, "", source)
            for name, weights, tokens, chip, hours, share, source in rows
        ),
    ]  # fmt: skip


def _sizes() -> list[Claim]:
    wudao = 1.75e12
    return [
        Claim("Chinchilla", "tokens for 70B weights", "", 1.4e12, best_tokens(70e9), True, "", "Hoffmann et al. 2022"),
        Claim("GLM-130B", "checkpoint in 16 bits", "bytes", 260e9, Scale.of_count(130e9).checkpoint(), True, "",
              "Zeng et al. 2022"),
        Claim("WuDao 2.0", f"checkpoint of 1.75T weights at {SAVED_TO_GO_ON} bytes", "bytes", 20e12,
              Scale.of_count(wudao).checkpoint(to_go_on=True), True, "with its optimiser", "BAAI 2021"),
        Claim(
            "WuDao 2.0", f"checkpoint of 1.75T weights at {SAVED} bytes", "bytes", 20e12,
            Scale.of_count(wudao).checkpoint(), False, "20 TB cannot be the weights alone", "BAAI 2021",
        ),
    ]  # fmt: skip
