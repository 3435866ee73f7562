"""What the documents say is there: files, headings, messages, commands, options, configuration keys."""

import ast
import inspect
import re
import xml.dom.minidom
from pathlib import Path

import pytest

OURS = ("README", "concepts", "tutorial", "extending", "equations", "troubleshooting", "faq")
OTHERS = {"local"}  # options of other programs: `hf download … --local-dir`


def read(repo_root: Path, name: str) -> str:
    return (repo_root / "docs" / f"{name}.md").read_text(encoding="utf-8")


def rendered(node: ast.AST) -> str:
    """A string in the source with … for what is put in at run time."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)


@pytest.fixture(scope="module")
def strings(repo_root) -> list[str]:
    """All strings of the package, blanks made single spaces."""
    found = []
    for path in (repo_root / "espnet_sld").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant | ast.JoinedStr):
                found.append(" ".join(rendered(node).split()))
    return [text for text in found if text]


@pytest.fixture(scope="module")
def sources(repo_root) -> str:
    """Everything that declares an option."""
    files = [*(repo_root / "espnet_sld").rglob("*.py"), *(repo_root / "egs").rglob("*.sh")]
    files += [*(repo_root / "utils").iterdir(), repo_root / "tools" / "install.sh"]
    return "\n".join(path.read_text(encoding="utf-8") for path in files if path.is_file())


def test_every_message_of_the_troubleshooting_page_is_in_the_source(repo_root, strings):
    messages = re.findall(r"^- `([^`]+)`:", read(repo_root, "troubleshooting"), re.MULTILINE)
    assert len(messages) > 40
    missing = []
    for message in messages:
        pieces = [piece.strip() for piece in " ".join(message.split()).split("…") if len(piece.strip()) > 2]
        pattern = re.compile(".*".join(map(re.escape, pieces)))
        if not any(pattern.search(text) for text in strings):
            missing.append(message)
    assert missing == []


def test_the_index_names_every_document(repo_root):
    index = read(repo_root, "README")
    names = {path.name for path in (repo_root / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in names if f"({name})" not in index} == set()


@pytest.mark.parametrize("name", OURS)
def test_commands_and_options_that_a_document_names_exist(repo_root, sources, name):
    text = read(repo_root, name)
    modules = set(re.findall(r"\bbin\.(\w+)", text)) - {"inspect"}
    assert {module for module in modules if not (repo_root / f"espnet_sld/bin/{module}.py").exists()} == set()
    options = set(re.findall(r"(?<![\w-])--([a-z]\w+)\b", text))
    declared = {
        option
        for option in options
        if re.search(rf"--{option}\b", sources) or re.search(rf"^{option}=", sources, re.MULTILINE)
    }
    assert options - declared - OTHERS == set()
    drivers = set(re.findall(r"`(\w+\.sh)`", text)) - {"run.sh", "path.sh", "cmd.sh"}
    assert {d for d in drivers if not list((repo_root / "egs").rglob(d))} == set()


def test_keys_of_the_equations_page_are_options_of_the_criteria(repo_root):
    from espnet_sld.criteria import DistillationCriterion, ModalityCriterion, SpeechTextCriterion

    text = read(repo_root, "equations")
    sections = dict(zip(("sld", "ctc", "dmlm"), re.split(r"^## ", text, flags=re.MULTILINE)[1:], strict=True))
    expected = {
        "sld": (SpeechTextCriterion, "alpha epsilon temperature kl_scope kl_reduction objective "
                "smoothing_epsilon smoothing_classes speech_weight"),
        "ctc": (DistillationCriterion, "row ctc_weight interctc_weight interaed_weight soft_label_weight "
                "ctc_kd_weight"),
        "dmlm": (ModalityCriterion, "lambda_speech lambda_text lambda_image normalisation speech_objective"),
    }  # fmt: skip
    for section, (criterion, keys) in expected.items():
        known = inspect.signature(criterion).parameters
        assert [key for key in keys.split() if key not in known] == []
        assert [key for key in keys.split() if key not in sections[section]] == []
    objectives = set(re.findall(r"`objective: (\w+)`", sections["sld"]))
    assert objectives == set(SpeechTextCriterion.objectives)


def test_defaults_that_the_equations_page_gives_are_the_code_s(repo_root):
    from espnet_sld.criteria import ModalityCriterion, SpeechTextCriterion

    text, wrong = read(repo_root, "equations"), []
    for criterion, keys in (
        (SpeechTextCriterion, ("alpha", "epsilon", "temperature", "kl_scope", "kl_reduction")),
        (ModalityCriterion, ("lambda_speech", "lambda_text", "lambda_image", "normalisation")),
    ):
        for key in keys:
            default = inspect.signature(criterion).parameters[key].default
            if f"{key}: {default}" not in text:
                wrong.append(f"{key}: {default}")
    assert wrong == []


def test_the_drawing_is_an_image_without_anything_fetched(repo_root):
    drawing = (repo_root / "docs" / "data-flow.svg").read_text(encoding="utf-8")
    xml.dom.minidom.parseString(drawing)
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)|<script|<image", drawing) == []
