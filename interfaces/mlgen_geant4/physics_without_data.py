"""Electromagnetic physics from models of Geant4 that read no data files. Runs in the process that has Geant4.

geant4-pybind binds no processes, but its extension module exports Geant4's C++ symbols: the processes are constructed
through ctypes and handed to ``G4PhysicsListHelper``. Bremsstrahlung is the only one whose usual models have to be
replaced: below 1 GeV they are tables of Seltzer and Berger.
"""

from __future__ import annotations

import ctypes
from typing import Any

#: What the files say of it.
MODELS = (
    "photoelectric effect G4PEEffectFluoModel (Sandia tables), Compton scattering G4KleinNishinaCompton, conversion "
    "G4PairProductionRelModel (LPM), multiple scattering G4UrbanMscModel, ionisation G4MollerBhabhaModel with "
    "G4UniversalFluctuation, bremsstrahlung G4eBremsstrahlungRelModel at all energies (LPM), annihilation "
    "G4eeToTwoGammaModel"
)
LEFT_OUT = (
    "Rayleigh scattering, fluorescence and Auger electrons, photonuclear and electronuclear reactions, muons, hadrons"
)
#: Particles whose production cuts are set.
CUT_PARTICLES = ("gamma", "e-", "e+", "proton")
#: Bytes for a C++ object of any of the classes below, a few kB each; their sizes are in no symbol.
_OBJECT_BYTES = 1 << 14
#: Of G4ProcessType.
_ELECTROMAGNETIC = 2
_FOR_PHOTONS = (
    ("21G4PhotoElectricEffect", "phot"),
    ("19G4ComptonScattering", "compt"),
    ("17G4GammaConversion", "conv"),
)


class _ShortString(ctypes.Structure):
    """A G4String, which is a std::string of libstdc++, of up to 15 letters."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("letters", ctypes.c_char * 16))

    def __init__(self, text: str) -> None:
        super().__init__(0, len(text), text.encode())
        self.data = ctypes.addressof(self) + _ShortString.letters.offset


class _Library:
    """The C++ functions of the extension module, by their mangled names."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.PyDLL(path)
        # C++ keeps pointers to some of what it is given.
        self._kept: list[Any] = []

    def call(self, symbol: str, *arguments: Any, result: Any = None) -> Any:
        """Call a function; of a method, the object is the first argument."""
        function = getattr(self._library, symbol)
        function.restype = result
        return function(*arguments)

    def instance(self, symbol: str) -> ctypes.c_void_p:
        """Return the pointer that a function without arguments gives."""
        return ctypes.c_void_p(self.call(symbol, result=ctypes.c_void_p))

    def new(self, constructor: str, *arguments: Any) -> ctypes.c_void_p:
        """Construct an object in memory that is never freed; the process ends with it."""
        memory = ctypes.create_string_buffer(_OBJECT_BYTES)
        self._kept.append(memory)
        address = ctypes.c_void_p(ctypes.addressof(memory))
        self.call(constructor, address, *arguments)
        return address

    def text(self, text: str) -> ctypes.c_void_p:
        """Return the address of a ``const G4String&``."""
        string = _ShortString(text)
        self._kept.append(string)
        return ctypes.c_void_p(ctypes.addressof(string))


def register_processes(library: _Library) -> None:
    """Register the processes of photons, electrons and positrons."""
    helper = library.instance("_ZN19G4PhysicsListHelper20GetPhysicsListHelperEv")
    photon = library.instance("_ZN7G4Gamma5GammaEv")
    electron = library.instance("_ZN10G4Electron8ElectronEv")
    positron = library.instance("_ZN10G4Positron8PositronEv")

    def register(process: ctypes.c_void_p, particle: ctypes.c_void_p) -> None:
        method = "_ZN19G4PhysicsListHelper15RegisterProcessEP10G4VProcessP20G4ParticleDefinition"
        if not library.call(method, helper, process, particle, result=ctypes.c_bool):
            raise RuntimeError("G4PhysicsListHelper refused a process")

    for mangled, name in _FOR_PHOTONS:
        constructor = f"_ZN{mangled}C1ERK8G4String13G4ProcessType"
        register(library.new(constructor, library.text(name), ctypes.c_int(_ELECTROMAGNETIC)), photon)
    for particle in (electron, positron):
        for mangled, name in (("21G4eMultipleScattering", "msc"), ("13G4eIonisation", "eIoni")):
            register(library.new(f"_ZN{mangled}C1ERK8G4String", library.text(name)), particle)
        register(_bremsstrahlung(library), particle)
    register(library.new("_ZN19G4eplusAnnihilationC1ERK8G4String", library.text("annihil")), positron)


def _bremsstrahlung(library: _Library) -> ctypes.c_void_p:
    process = library.new("_ZN17G4eBremsstrahlungC1ERK8G4String", library.text("eBrem"))
    model = library.new(
        "_ZN25G4eBremsstrahlungRelModelC1EPK20G4ParticleDefinitionRK8G4String",
        ctypes.c_void_p(None),
        library.text("eBremRel"),
    )
    # The first of the process' two models. Alone, it is used at all energies.
    library.call("_ZN20G4VEnergyLossProcess10SetEmModelEP10G4VEmModeli", process, model, ctypes.c_int(0))
    return process


def physics_list(cut: float) -> Any:
    """Make the physics list.

    Args:
        cut: Production cut, mm.

    Raises:
        RuntimeError: The extension module does not export what is needed: it was built in another way than the wheels
            for Linux are.
    """
    import geant4_pybind as g4

    library = _Library(g4.__file__)

    class Electromagnetic(g4.G4VPhysicsConstructor):  # type: ignore[misc]  # geant4_pybind ships no types
        def __init__(self) -> None:
            super().__init__("EmWithoutData")

        def ConstructParticle(self) -> None:  # noqa: N802 - the name is Geant4's
            for particle in (g4.G4Gamma.Gamma, g4.G4Electron.Electron, g4.G4Positron.Positron, g4.G4Proton.Proton):
                particle()

        def ConstructProcess(self) -> None:  # noqa: N802 - the name is Geant4's
            try:
                register_processes(library)
            except AttributeError as error:
                raise RuntimeError(f"geant4-pybind at {g4.__file__} lacks a symbol: {error}") from error

    class PhysicsWithoutData(g4.G4VModularPhysicsList):  # type: ignore[misc]  # geant4_pybind ships no types
        def __init__(self) -> None:
            super().__init__()
            self.SetVerboseLevel(0)
            # Its commands have to exist before the processes do.
            g4.G4EmParameters.Instance()
            self._electromagnetic = Electromagnetic()
            self.RegisterPhysics(self._electromagnetic)

        def SetCuts(self) -> None:  # noqa: N802 - the name is Geant4's
            # SetDefaultCutValue leaves the 1 mm of Geant4 in force when it is called through the binding.
            for name in CUT_PARTICLES:
                self.SetCutValue(cut * g4.mm, name)

    return PhysicsWithoutData()
