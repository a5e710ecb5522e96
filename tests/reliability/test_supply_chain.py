"""Promise 10: only what was checked is loaded, and what is installed is what was locked."""

import ast
import dataclasses
import hashlib
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sqlalchemy.exc import DBAPIError

from facesim_index.engine.loading import EngineSettings
from facesim_index.engine.runtimes import onnxruntime_network
from facesim_index.engine.runtimes.onnx_graph import read_graph
from facesim_index.errors import IndexDamagedError, ModelError
from facesim_index.models.pack import ModelFiles
from facesim_index.models.resolution import resolve
from facesim_index.records import FaceId
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.segments.coarse import coarse_path, read_coarse
from facesim_index.store.segments.segment import Segment
from tests.builders import commit_pictures, new_store, picture, unit_vectors
from tests.example_pictures import embed_faces
from tools import check_dependencies

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("facesim_index", "cli", "migrations")
OURS = (*SHIPPED, "tools", "benchmarks")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# The weights are the very bytes that were checked


@pytest.fixture
def pack(tmp_path: Path) -> ModelFiles:
    """A copy of the default weights in a folder, checked."""
    source = resolve()
    folder = tmp_path / "pack"
    folder.mkdir()
    for path in (source.detector, source.recogniser):
        shutil.copy2(path, folder)
    return resolve(folder)


def spoil(path: Path) -> None:
    """Change the last byte: still a network, with another bias or name."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("role", ["detector", "recogniser"])
def test_a_file_swapped_between_check_and_load_is_not_used(pack: ModelFiles, role: str) -> None:
    path: Path = getattr(pack, role)
    spoil(path)
    with pytest.raises(ModelError, match=f"{path.name} is not the file that was checked") as told:
        EngineSettings(model=pack, provider="cpu").load()
    assert sha256(path) in str(told.value)
    assert getattr(pack, f"{role}_sha256") in str(told.value)


def test_a_published_name_with_other_bytes_is_refused_at_the_check(pack: ModelFiles) -> None:
    spoil(pack.recogniser)
    with pytest.raises(ModelError, match="is not the right file"):
        resolve(pack.recogniser.parent)


def test_what_runs_is_what_was_hashed_even_if_the_file_changes_while_it_is_read(
    pack: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is opened once; it is gone before a session is made of it."""
    opened: list[Path] = []
    read_bytes = Path.read_bytes
    weights = (pack.detector, pack.recogniser)

    def read_and_swap(path: Path) -> bytes:
        data = read_bytes(path)
        if path in weights:
            opened.append(path)
            path.write_bytes(b"something else altogether")
        return data

    monkeypatch.setattr(Path, "read_bytes", read_and_swap)
    engine = EngineSettings(model=pack, provider="cpu").load()
    assert opened == list(weights)
    assert engine.identity.recogniser_sha256 == pack.recogniser_sha256
    assert len(embed_faces(engine, np.zeros((64, 64, 3), dtype=np.uint8))) == 0


def test_sessions_are_made_of_bytes_never_of_a_path(
    pack: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = onnxruntime_network.import_runtime()
    given: list[object] = []
    session = runtime.InferenceSession

    def watched(model: object, *arguments: object, **options: object) -> object:
        given.append(model)
        return session(model, *arguments, **options)

    monkeypatch.setattr(runtime, "InferenceSession", watched)
    EngineSettings(model=pack, provider="cpu").load()
    assert len(given) == 2
    assert all(isinstance(model, bytes) for model in given)


# A model is one file


def network(weight: TensorProto, *extra: onnx.NodeProto) -> onnx.ModelProto:
    """Return y = x + weight."""
    source, target = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "y")
    )
    add = helper.make_node("Add", ["x", weight.name], ["y"])
    graph = helper.make_graph([add, *extra], "g", [source], [target], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def external(location: str) -> TensorProto:
    """Return a tensor whose values are in another file."""
    tensor = numpy_helper.from_array(np.zeros(4, dtype=np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def inside(tensor: TensorProto) -> onnx.NodeProto:
    """Return a node that hides a tensor in a branch of a branch."""
    graph = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "i", [], [])
    inner = helper.make_node("If", ["q"], ["z"], then_branch=graph, else_branch=graph)
    outer = helper.make_graph([inner], "o", [], [])
    return helper.make_node("If", ["q"], ["z"], then_branch=outer, else_branch=outer)


WHOLE = numpy_helper.from_array(np.ones(4, dtype=np.float32), "w")


def in_a_function(tensor: TensorProto) -> onnx.ModelProto:
    model = network(WHOLE)
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    model.functions.append(
        helper.make_function("own", "F", [], ["c"], [constant], [helper.make_opsetid("", 14)])
    )
    return model


def sparse(tensor: TensorProto) -> onnx.ModelProto:
    model = network(WHOLE)
    model.graph.sparse_initializer.add().values.CopyFrom(tensor)
    return model


PLACES: dict[str, Callable[[str], onnx.ModelProto]] = {
    "an initializer": lambda where: network(external(where)),
    "a nested branch": lambda where: network(WHOLE, inside(external(where))),
    "a function": lambda where: in_a_function(external(where)),
    "a sparse initializer": lambda where: sparse(external(where)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("where", ["weights.bin", "../secret", "/etc/hostname"])
def test_a_model_with_weights_elsewhere_is_refused(tmp_path: Path, place: str, where: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(16))
    path = tmp_path / "model.onnx"
    path.write_bytes(PLACES[place](where).SerializeToString())
    with pytest.raises(ModelError, match=r"model\.onnx keeps the weights 'w' in another file"):
        read_graph(path, sha256(path))


def test_a_model_that_names_a_compiled_network_is_refused(tmp_path: Path) -> None:
    node = helper.make_node(
        "EPContext", ["x"], ["z"], name="n", domain="com.microsoft", ep_cache_context="../x.bin"
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(network(WHOLE, node).SerializeToString())
    with pytest.raises(ModelError, match="the compiled network 'n'"):
        read_graph(path)


def test_a_whole_model_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(network(WHOLE).SerializeToString())
    assert read_graph(path, sha256(path)) == network(WHOLE)


def test_the_engine_refuses_a_recogniser_with_weights_elsewhere(pack: ModelFiles) -> None:
    onnx.save_model(
        onnx.load(str(pack.recogniser)),
        str(pack.recogniser),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    assert (pack.recogniser.parent / "weights.bin").stat().st_size > 1_000_000
    split = dataclasses.replace(pack, recogniser_sha256=sha256(pack.recogniser))
    with pytest.raises(ModelError, match="in another file, which no hash covers"):
        EngineSettings(model=split, provider="cpu").load()


# An index from somebody else


def test_a_catalog_cannot_lead_out_of_the_index(tmp_path: Path) -> None:
    """Else compacting a stranger's index would remove any file that its catalog names."""
    victim = tmp_path / "precious.faiss"
    victim.write_bytes(b"precious")
    with new_store(tmp_path / "i") as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", unit_vectors(2, 1))})
        with store.catalog.write() as transaction:
            transaction.exec_driver_sql("UPDATE segment SET name = '../../precious.faiss'")
        store.remove([], face_ids=[FaceId(1)])
        for attempt in (store.compact, lambda: store.view().__enter__()):
            with pytest.raises(IndexDamagedError, match="would lie outside"):
                attempt()
    assert victim.read_bytes() == b"precious"


def test_a_catalog_cannot_load_an_extension(tmp_path: Path) -> None:
    with new_store(tmp_path / "i") as writer, FolderStore(tmp_path / "i") as reader:
        for store in (writer, reader):
            with (
                store.catalog.read() as transaction,
                pytest.raises(DBAPIError, match="not authorized"),
            ):
                transaction.exec_driver_sql("SELECT load_extension('x')")


def test_faiss_is_only_given_segments_of_the_kind_that_we_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other kinds may name further files, such as lists kept on disk, that FAISS then opens."""
    quantizer = faiss.IndexFlatIP(8)
    lists = faiss.IndexIVFFlat(quantizer, 8, 1, faiss.METRIC_INNER_PRODUCT)
    lists.train(np.eye(8, dtype=np.float32))
    for kind in (lists, faiss.IndexFlatIP(8), faiss.IndexIDMap2(faiss.IndexFlatIP(8))):
        faiss.write_index(kind, str(tmp_path / "1.faiss"))
        with monkeypatch.context() as patched:
            patched.setattr(faiss, "read_index", _never)
            with pytest.raises(IndexDamagedError, match="not a whole segment"):
                Segment(tmp_path / "1.faiss")


def test_faiss_is_only_given_coarse_codes_of_the_kind_that_we_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = tmp_path / "1.faiss"
    monkeypatch.setattr("facesim_index.store.segments.coarse._KIND", b"IxFI")
    foreign = faiss.serialize_index(faiss.IndexFlatIP(8))
    from facesim_index.store.segments.coarse import _HEADER, _MAGIC

    body = _HEADER.pack(_MAGIC, bytes(32), 0, 1.0, 0.1, 0.1, foreign.nbytes) + foreign.tobytes()
    coarse_path(segment).write_bytes(body + hashlib.sha256(body).digest())
    read_coarse(segment, "00" * 32)  # the file is sound: only its kind decides
    monkeypatch.undo()
    monkeypatch.setattr("facesim_index.store.segments.coarse.faiss.deserialize_index", _never)
    with pytest.raises(IndexDamagedError, match="no codes that this version knows"):
        read_coarse(segment, "00" * 32)


def _never(*arguments: object) -> object:
    raise AssertionError("FAISS was given a file of a stranger")


# What the code does not do


#: Modules that can run what they read, or belong to formats that can.
RUN_WHAT_THEY_READ = {
    *("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"),
    *("torch", "tensorflow", "keras", "yaml", "code", "codeop"),
}
#: Pickles pass between a worker and its parent over pipes of their own, and nowhere else.
PIPES = {"child.py", "process.py", "pool.py", "messages.py", "service.py", "supervisor.py"}
NETWORK = {
    *("socket", "ssl", "urllib", "urllib3", "http", "ftplib", "smtplib", "requests", "httpx"),
    *("aiohttp", "asyncio", "xmlrpc", "socketserver", "webbrowser", "telnetlib"),
}


def sources(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> set[str]:
    """Return the top modules that a source imports, at whatever place."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call with the dotted name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def risky(tree: ast.Module) -> list[str]:
    """Return the calls that run what they are given, or could."""
    found = []
    for name, call in calls(tree):
        options = {option.arg: ast.unparse(option.value) for option in call.keywords}
        if name in {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}:
            found.append(name)
        if options.get("shell", "False") != "False":
            found.append(f"{name}(shell=...)")
        if options.get("allow_pickle", "False") != "False":
            found.append(f"{name}(allow_pickle=...)")
        if name.endswith((".read_pickle", ".to_pickle", "load_library", "load_extension")):
            found.append(name)
    return found


def test_pickle_is_used_between_our_own_processes_and_nowhere_else() -> None:
    using = {path.name for path, tree in sources(*OURS) if imported(tree) & RUN_WHAT_THEY_READ}
    assert using == PIPES
    for _, tree in sources("facesim_index"):
        if found := imported(tree) & RUN_WHAT_THEY_READ:
            assert found == {"pickle"}
            used = {name for name, _ in calls(tree) if name.startswith("pickle.")}
            assert used <= {"pickle.loads", "pickle.dumps"}, "never to or from a file"


def test_nothing_runs_what_it_reads() -> None:
    found = {path.name: risky(tree) for path, tree in sources(*OURS) if risky(tree)}
    assert found == {}


def test_only_the_download_of_models_knows_the_network() -> None:
    using = {path.name: imported(tree) & NETWORK for path, tree in sources(*SHIPPED)}
    assert {name: modules for name, modules in using.items() if modules} == {
        "download.py": {"requests"},
        "descriptors.py": {"urllib"},  # urllib.parse, for the catalog's file: address
        # Workers and the process of a card, over a socket that is a file.
        "client.py": {"socket"},
        "messages.py": {"socket"},
        # The server: it is asked, and asks nobody.
        "app.py": {"asyncio"},
        "connections.py": {"asyncio"},
        "forms.py": {"asyncio"},
        "problems.py": {"http"},
        "receiving.py": {"asyncio", "http"},
        "security.py": {"urllib"},
        "server.py": {"socket"},
    }
    [descriptors] = [
        path.read_text() for path, _ in sources(*SHIPPED) if path.name == "descriptors.py"
    ]
    assert re.findall(r"urllib\S*", descriptors) == ["urllib.parse"]
    card = "".join(path.read_text() for path, _ in sources("facesim_index") if "card" in path.parts)
    assert set(re.findall(r"socket\.AF_\w+", card)) == {"socket.AF_UNIX"}
    assert not re.search(r"create_connection|create_server|getaddrinfo", card)


def test_the_server_listens_and_never_connects() -> None:
    web = {
        path.name: path.read_text() for path, _ in sources("facesim_index") if "web" in path.parts
    }
    assert "server.py" in web
    for name, text in web.items():
        named = re.findall(r"^(?:import|from) ((?:http|urllib)[\w.]*)", text, re.M)
        assert set(named) <= {"http", "http.cookies", "urllib.parse"}
        assert not re.search(r"connect\(|create_connection|open_connection|urlopen", text), name
    assert re.findall(r"^from http import .*", web["problems.py"], re.M) == [
        "from http import HTTPStatus"
    ]


def test_only_our_own_worker_and_pip_are_started_and_without_a_shell() -> None:
    using = {
        path.name: [name for name, _ in calls(tree) if name.startswith(("subprocess.", "os.exec"))]
        for path, tree in sources(*SHIPPED)
        if "subprocess" in imported(tree)
    }
    assert using == {
        "process.py": ["subprocess.Popen", "subprocess.Popen"],
        "jobs.py": [],  # it has the worker's process started for it
        "supervisor.py": [],  # so has it that of a card
        "package_download.py": ["subprocess.run"],  # pip, asked for wheels of known SHA-256
    }


@pytest.mark.parametrize(
    "source",
    [
        "eval(x)",
        "exec(open(p).read())",
        "subprocess.run(c, shell=True)",
        "subprocess.run(c, shell=wanted)",
        "np.load(f, allow_pickle=True)",
        "pandas.read_pickle(f)",
        "os.system(c)",
    ],
)
def test_what_runs_what_it_reads_would_have_been_noticed(source: str) -> None:
    assert risky(ast.parse(source))


@pytest.mark.parametrize(
    "source", ["import torch.nn", "from joblib import load", "def f():\n    import pickle"]
)
def test_a_module_that_runs_what_it_reads_would_have_been_noticed(source: str) -> None:
    assert imported(ast.parse(source)) & RUN_WHAT_THEY_READ


# What is installed


def test_what_is_installed_is_what_was_locked_and_each_has_a_reason() -> None:
    assert check_dependencies.problems() == []


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="what packages need is asked on Linux on x86_64",
)
def test_the_page_of_dependencies_is_fresh() -> None:
    page = check_dependencies.TARGET.read_text(encoding="utf-8")
    assert page == check_dependencies.document(), "run `make docs`"


HASH = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a==1\n", "a has no hash"),
        (f"a>=1 \\\n    --hash={HASH}\n", "a is not pinned to one version"),
        (f"a==1.* \\\n    --hash={HASH}\n", "a is not pinned to one version"),
        ("a==1 \\\n    --hash=md5:00\n", "a has a hash that is no SHA-256"),
        (f"--extra-index-url x\na==1 \\\n    --hash={HASH}\n", "it names an address or an option"),
        (f"a @ https://b/a.whl \\\n    --hash={HASH}\n", "it names an address or an option"),
    ],
)
def test_a_bad_pin_is_noticed(text: str, problem: str) -> None:
    assert problem in list(check_dependencies.pin_problems(text))


def test_a_good_pin_is_read_with_its_marker_and_hashes() -> None:
    other = "sha256:" + "1" * 64
    text = f"# made\nA_b==1 ; python_version > '3' \\\n    --hash={HASH} \\\n    --hash={other}\n"
    assert list(check_dependencies.pin_problems(text)) == []
    pin = check_dependencies.read_pins(text)["a-b"]
    assert (pin.version, pin.hashes, pin.applies) == ("1", (HASH, other), True)


def test_differences_between_pins_environment_and_page_are_noticed() -> None:
    pins = check_dependencies.read_pins(
        "".join(f"{name}==1 \\\n    --hash={HASH}\n" for name in ("numpy", "click"))
    )
    installed = {"numpy": "2", "evil": "1"}
    assert list(check_dependencies.installed_problems(pins, installed)) == [
        "numpy is installed in version 2, not 1",
        "click is pinned but not installed",
        "evil is installed but not pinned",
    ]
    assert list(check_dependencies.need_problems(pins, ["numpy", "gone"])) == [
        "gone is asked for by pyproject.toml but not pinned",
        "click is pinned, but nothing needs it",
    ]
    page = "| package | why |\n|---|---|\n| numpy | arrays |\n| click |  |\n| old | was needed |\n"
    assert [
        problem.split(";")[0] for problem in check_dependencies.listed_problems(pins, page)
    ] == [
        "docs/dependencies.md does not say why click is there",
        "docs/dependencies.md lists old, which is not pinned",
    ]
