"""A little knowledge of C text for the checks: files, code without comments, functions."""

import glob
import os
import re

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_NOISE = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL
)


def files(*patterns):
    """Paths below the repository, relative to it."""
    found = []
    for pattern in patterns:
        found += glob.glob(os.path.join(REPO, pattern), recursive=True)
    return sorted(os.path.relpath(path, REPO) for path in found)


def read(path):
    with open(os.path.join(REPO, path), encoding="utf-8") as file:
        return file.read()


def code(text):
    """The text with comments and literals blanked; every line stays where it was."""

    def blank(match):
        found = match[0]
        kept = re.sub(r"[^\n]", " ", found)
        return found[0] + kept[1:-1] + found[0] if found[0] in "\"'" else kept

    return _NOISE.sub(blank, text)


def without_directives(text):
    """Code with preprocessor lines blanked too, and of #if/#else only the first branch."""
    lines, skipping, stack, continued = [], False, [], False
    for line in text.split("\n"):
        directive = re.match(r"\s*#\s*(\w+)", line)
        if continued or directive:
            if directive and not continued:
                word = directive[1]
                if word in ("if", "ifdef", "ifndef"):
                    stack.append(skipping)
                elif word in ("else", "elif") and stack:
                    skipping = True
                elif word == "endif" and stack:
                    skipping = stack.pop()
            continued = line.endswith("\\")
            lines.append("")
        else:
            lines.append("" if skipping else line)
    return "\n".join(lines)


class Function:
    """A function body: where it stands and what it is made of."""

    def __init__(self, name, parameters, first_line, last_line, body):
        self.name = name
        self.first_line = first_line
        self.lines = last_line - first_line + 1
        self.parameters = _count_parameters(parameters)
        self.cyclomatic = 1 + len(re.findall(r"\b(?:if|for|while|switch)\b|&&|\|\||\?", body))
        self.nesting = _nesting(body)


def _count_parameters(text):
    text = text.strip()
    if text in ("", "void"):
        return 0
    depth, count = 0, 1
    for char in text:
        depth += (char == "(") - (char == ")")
        count += char == "," and depth == 0
    return count


def _nesting(body):
    """Depth of blocks within the body; initialiser braces do not count."""
    depth = deepest = 0
    kinds = []
    for match in re.finditer(r"[{}]", body):
        if match[0] == "}":
            if kinds:
                depth -= kinds.pop()
            continue
        before = body[: match.start()].rstrip()
        block = 0 if before.endswith(("=", ",", "{", "(")) or before.endswith("]") else 1
        if re.search(r"=\s*\([^()]*\)$|[,(&]\s*\((?:const )?struct [^()]*\)$", before):
            block = 0  # compound literal
        if re.search(r"\breturn\s*\([^()]*\)$", before):
            block = 0
        kinds.append(block)
        depth += block
        deepest = max(deepest, depth)
    return deepest


class _Head:
    """Name and parameters of the function whose body begins at the end of `text`, or name None."""

    def __init__(self, text):
        self.name = self.parameters = None
        close = text.rfind(")")
        if close < 0 or "=" in text or not re.fullmatch(r"[\w\s]*", text[close + 1 :]):
            return
        depth, at = 0, close
        while at >= 0:
            depth += (text[at] == ")") - (text[at] == "(")
            if depth == 0:
                break
            at -= 1
        before = text[:at].rstrip()
        name = re.search(r"\w+$", before)
        if at < 0 or not name:
            return
        if name[0].startswith("__attribute"):
            inner = _Head(before[: name.start()])
            self.name, self.parameters = inner.name, inner.parameters
        else:
            self.name, self.parameters = name[0], text[at + 1 : close]


def functions(text):
    """All function definitions of a C text."""
    plain = without_directives(code(text))
    found, depth, start, head_from = [], 0, 0, 0
    head = None
    for match in re.finditer(r"[{};]", plain):
        at = match.start()
        if match[0] == "{":
            if depth == 0:
                head = _Head(plain[head_from:at])
                start = at
            depth += 1
        elif match[0] == "}":
            depth -= 1
            if depth == 0:
                if head.name:
                    found.append(_function(plain, head, head_from, start, at))
                head_from = at + 1
        elif depth == 0:
            head_from = at + 1
    return found


def _function(plain, head, head_from, start, end):
    lead = len(plain[head_from:start]) - len(plain[head_from:start].lstrip())
    first = plain.count("\n", 0, head_from + lead) + 1
    last = plain.count("\n", 0, end) + 1
    return Function(head.name, head.parameters, first, last, plain[start + 1 : end])


def finish(what, findings, checked):
    """Prints the findings; the exit code."""
    for finding in findings:
        print(finding)
    print(f"{what}: {checked} checked, {len(findings)} findings")
    return 1 if findings or not checked else 0
