import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Read when numpy, scikit-learn and torch are imported: with more threads than free cores they are many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from mlgen.plugins import DISABLE_VARIABLE, plugin_manager, use_third_party

ROOT = Path(__file__).parent.parent


@pytest.fixture
def shared_data() -> Path:
    """Real event files of other generators, which lie beside the checkout where this project is developed."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the event files of other generators in {folder}")
    return folder


@pytest.fixture
def examples() -> Path:
    """The cards and inputs that come with the project."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def mlm_head() -> str:
    """Begin of an LHE file up to its first event, as MadGraph writes it for an MLM matching; 1000 +- 5 pb."""
    return """\
<LesHouchesEvents version="1.0">
<header>
<MGRunCard>
 1        = ickkw            ! MLM matching
 10   = xqcut   ! minimum kt jet measure between partons
 4        = maxjetflavor    ! maximum jet pdg code
</MGRunCard>
</header>
<init>
2212 2212 6.5e3 6.5e3 0 0 10042 10042 3 1
1000.0 5.0 0.1 1
</init>
"""


@pytest.fixture(scope="session")
def amplicol_cache(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Matrix elements of pyAmpliCol, kept from run to run where pytest keeps anything: the first one generates."""
    cache = getattr(pytestconfig, "cache", None)
    return tmp_path_factory.mktemp("amplicol") if cache is None else Path(cache.mkdir("amplicol"))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Nothing is kept in the cache of whoever runs the tests, nor taken from it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def known_showers(monkeypatch: pytest.MonkeyPatch):
    """The package of the calorimeter in closed form: to importlib.metadata it is installed. Returns its module."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "packages" / "known_showers"))
    plugin_manager.cache_clear()
    return importlib.import_module("mlgen_known_showers")


@pytest.fixture(autouse=True)
def fresh_plugin_manager(monkeypatch: pytest.MonkeyPatch):
    """Every test begins with the plugins of the environment, whatever the last one switched off."""
    monkeypatch.delenv("MLGEN_DISABLE_PLUGINS", raising=False)
    use_third_party(True)
    yield
    plugin_manager.cache_clear()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install packages as pip would: a module, and a dist-info with an entry point, on the path."""
    modules = []

    def install_package(distribution: str, code: str, version: str = "1.0", requires: Sequence[str] = ()) -> None:
        module = distribution.replace("-", "_")
        site = tmp_path / distribution
        information = site / f"{module}-{version}.dist-info"
        information.mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        information.joinpath("METADATA").write_text(metadata)
        information.joinpath("entry_points.txt").write_text(f"[mlgen]\nplugin = {module}\n")
        site.joinpath(f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        modules.append(module)

    yield install_package
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def fresh_manager(monkeypatch):
    """Begin and end without plugins that another test loaded."""
    monkeypatch.delenv(DISABLE_VARIABLE, raising=False)
    use_third_party(True)
    yield
    use_third_party(True)
