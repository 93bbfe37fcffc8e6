"""Events <-> the numbers that networks see. NumPy only: what a network is made of is the plugin's own affair.

`represent` splits the events of a file into *topologies* (`Topology`): classes of events that have the same decay
tree and differ in flavours, colour flow and process. Every event of a topology is then a class and a row of numbers
that are each distributed like a standard normal; `Topology.decode` turns such rows into events that conserve
four-momentum and stand on their mass shells, whatever the numbers are.
"""

from mlgen.representation.classes import EventClass, find_classes
from mlgen.representation.couplings import CouplingTable
from mlgen.representation.decay_tree import DecayTree
from mlgen.representation.kinematics import Kinematics
from mlgen.representation.quantiles import QuantileTransform
from mlgen.representation.sample import Representation, collected, represent
from mlgen.representation.topology import EVENT_NUMBERS, DecodedEvents, Topology, TopologyEvents

__all__ = [
    "EVENT_NUMBERS",
    "CouplingTable",
    "DecayTree",
    "DecodedEvents",
    "EventClass",
    "Kinematics",
    "QuantileTransform",
    "Representation",
    "Topology",
    "TopologyEvents",
    "collected",
    "find_classes",
    "represent",
]
