"""The networks that are trained: flows, and the channel weights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from mlgen.stages import IntArray
from mlgen_madnis.channel_weights import ChannelWeightNetwork
from mlgen_madnis.settings import MadnisSettings
from mlgen_madnis.spline_flows import SplineFlows


@dataclass(frozen=True, slots=True)
class Networks:
    """Flows and channel weights.

    Args:
        flows: A flow for each group of channels.
        channel_weights: The network of the channel weights; None where the prior weights are used.
    """

    flows: SplineFlows
    channel_weights: ChannelWeightNetwork | None

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The networks by name, as their arrays are called in a state."""
        parts: dict[str, nn.Module] = {"flows": self.flows}
        return parts if self.channel_weights is None else parts | {"channel_weights": self.channel_weights}

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All parameters, by names like ``flows.weights.0``."""
        return {
            f"{part}.{name}": parameter
            for part, module in self.parts.items()
            for name, parameter in module.named_parameters()
        }


def new_networks(
    dimensions: int, features: int, group_of_channel: IntArray, settings: MadnisSettings, units: int
) -> Networks:
    """Make untrained networks: identity and prior channel weights. Draws from torch's generator, on the CPU.

    Args:
        dimensions: Of the hypercube.
        features: Features of a point.
        group_of_channel: Group of each channel, ``(channels,)``.
        settings: Layers, bins and units.
        units: Units of the flows' hidden layers.
    """
    flows = SplineFlows(dimensions, group_of_channel.tolist(), layers=settings.layers, units=units, bins=settings.bins)
    if not settings.learn_channel_weights or len(group_of_channel) == 1:
        return Networks(flows, None)
    channel_weights = ChannelWeightNetwork(
        features,
        len(group_of_channel),
        layers=settings.channel_weight_layers,
        units=settings.channel_weight_units,
    )
    return Networks(flows, channel_weights)
