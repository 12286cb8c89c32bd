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

    agrees  whether the two should be within NEAR of each other; where they are not, `note` tells what that means
    """

    of: str
    what: str
    published: float
    worked_out: float
    source: str
    unit: str = ""
    agrees: bool = True
    note: str = ""

    @property
    def ratio(self) -> float:
        """What comes out here over what was published."""
        return self.worked_out / self.published

    @property
    def holds(self) -> bool:
        """The verdict that is written here is the one that the figures give."""
        return (abs(self.ratio - 1) <= NEAR) == self.agrees


def _reached(flops: float, name: str, hours: float) -> float:
    """The share of the peak, over so many device-hours."""
    return flops / (hours * 3600 * device(name).peak)


def claims() -> list[Claim]:
    """In the order of the models' publication."""
    return [*_language_models(), *_utilisations(), *_sizes()]


def _language_models() -> list[Claim]:
    gpt3, lamda, palm, opt = (Scale.of_count(count) for count in (174.6e9, 137e9, 540.35e9, 175e9))
    brown, lambda_labs, patterson = "Brown et al. 2020", "Lambda Labs 2020", "Patterson et al. 2021"
    thoppilan, chowdhery, zhang = "Thoppilan et al. 2022", "Chowdhery et al. 2022", "Zhang et al. 2022"
    years = Fleet(Device("v100", 28e12, 32 * 2**30), utilisation=1.0).hours(3.14e23) / YEAR
    watts = 10_000 * 14.8 * 24 * 330 * 1.1 / 1e9
    gopher = _reached(Scale.of_count(280e9).rule(300e9), "tpu-v3", 4096 * 920)
    whole = _reached(palm.rule(780e9), "tpu-v4", 6144 * 1200 + 3072 * 336.0)
    return [
        Claim("GPT-3", "FLOPs, 6ND of 174.6B and 300B tokens", 3.14e23, gpt3.rule(300e9), brown),
        Claim("GPT-3", "on one V100 at 28 TFLOPS", 355, years, lambda_labs, "years"),
        Claim("GPT-3", "at 1.48 dollars an hour", 4.6e6, years * YEAR * 1.48, lambda_labs, "dollars",
              note="a lower bound: no run fails, and 28 TFLOPS is what a V100 was hoped to reach"),
        Claim("GPT-3", "energy: 10,000 V100, 14.8 days, 330 W, overhead 1.1", 1.287, watts, patterson, "GWh"),
        Claim("GPT-3", "28 TFLOPS; reached on 10,000 V100 in 14.8 days",
              28, 3.14e23 / (10_000 * 14.8 * 86400) / 1e12, patterson, "TFLOPS", agrees=False,
              note=f"a fifth of the peak (125): {10_000 * 14.8 / 365:.0f} V100-years rather than 355"),
        Claim("Gopher", "utilisation, over 4,096 TPUv3 and 920 h", 0.325, gopher, "Rae et al. 2021", agrees=False,
              note="6ND leaves the attention out, and the hours hold what was no training"),
        Claim("LaMDA", "FLOPs: 1,024 TPUv3, 57.7 days, 56.5 %",
              3.55e23, Fleet(device("tpu-v3"), 1024, 0.565).speed * 57.7 * 86400, thoppilan),
        Claim("LaMDA", "FLOPs of the 768B tokens that are often quoted",
              3.55e23, lamda.rule(768e9), thoppilan, agrees=False,
              note="tokens and FLOPs contradict each other: the FLOPs allow "
              f"{3.55e23 / lamda.rule(1.0) / 1e9:.0f}B tokens"),
        Claim("PaLM 540B", "FLOPs, 6ND of 780B tokens", 2.53e24, palm.rule(780e9), chowdhery),
        Claim("PaLM 540B", "utilisation, over all 8.4M chip-hours", 0.457, whole, chowdhery, agrees=False,
              note=f"45.7 % is that of a step; over the whole run it is {whole:.1%}"),
        Claim("OPT-175B", "FLOPs, 8ND: recomputed", 4.30e23, opt.rule(300e9, recompute=True), zhang),
        Claim("OPT-175B", "FLOPs, 6ND", 4.30e23, opt.rule(300e9), zhang, agrees=False,
              note="what is published is what the hardware did, not what the model needs"),
    ]  # fmt: skip


def _utilisations() -> list[Claim]:
    reached = _reached(Scale.of_count(130e9).rule(400e9), "a100-40", 768 * 60 * 24.0)
    llama = _reached(Scale.of_count(65.2e9).rule(1.4e12), "a100", 1_022_362)
    llama3 = _reached(Scale.of_count(405e9).rule(15.6e12), "h100", 30.84e6)
    return [
        Claim("GLM-130B", "hardware's share 43.3 % of 32.5 %, by 8ND / 6ND", 0.433, 0.325 * 8 / 6, "Zeng et al. 2022"),
        Claim("GLM-130B", "utilisation, over 60 days of 768 A100", 0.325, reached, "Zeng et al. 2022", agrees=False,
              note=f"60 days are the most that it can have been: at 32.5 % it is {60 * reached / 0.325:.0f}"),
        Claim("LLaMA-65B", "utilisation at 380 tokens a second and GPU, over 1,022,362 hours",
              6 * 65.2e9 * 380 / device("a100").peak, llama, "Touvron et al. 2023"),
        Claim("Llama 3.1 405B", "utilisation, over 30.84M hours", 0.41, llama3, "Grattafiori et al. 2024", agrees=False,
              note=f"38 to 43 % are those of a step; over all hours it is {llama3:.1%}"),
    ]  # fmt: skip


def _sizes() -> list[Claim]:
    glm, wudao = Scale.of_count(130e9), Scale.of_count(1.75e12)
    saved = "checkpoint of 1.75T weights at {} bytes".format
    return [
        Claim("Chinchilla", "tokens for 70B weights", 1.4e12, best_tokens(70e9), "Hoffmann et al. 2022"),
        Claim("GLM-130B", "checkpoint in 16 bits", 260e9, glm.checkpoint(), "Zeng et al. 2022", "bytes"),
        Claim("WuDao 2.0", saved(SAVED_TO_GO_ON), 20e12, wudao.checkpoint(to_go_on=True), "BAAI 2021", "bytes",
              note="with its optimiser"),
        Claim("WuDao 2.0", saved(SAVED), 20e12, wudao.checkpoint(), "BAAI 2021", "bytes", agrees=False,
              note="20 TB cannot be the weights alone"),
    ]  # fmt: skip
