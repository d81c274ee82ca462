#!/bin/sh
# Build wheel and sdist of a tag into dist/, with its part of the changelog as notes.md, and check them: the tag is the
# version's, their metadata are valid, and the wheel runs in an environment of its own with what requirements.lock pins.
# The project's addresses are those of the repository that releases it.
set -eu
version=${1#v}
declared=$(python -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
[ "$1" = "v$declared" ] || { echo "The tag $1 is not that of the version in pyproject.toml, v$declared." >&2; exit 1; }
rm -rf dist && mkdir dist
awk -v heading="## [$version]" 'index($0, "## ") == 1 { own = index($0, heading) == 1; next } own' CHANGELOG.md > dist/notes.md
grep -q '[^ ]' dist/notes.md || { echo "CHANGELOG.md says nothing under '## [$version]'." >&2; exit 1; }
if [ -n "${GITHUB_REPOSITORY:-}" ]; then
    at=$GITHUB_SERVER_URL/$GITHUB_REPOSITORY
    printf '\n[project.urls]\nSource = "%s"\nDocumentation = "%s"\nChangelog = "%s"\nIssues = "%s"\n' \
        "$at" "$at/tree/$1/docs" "$at/blob/$1/CHANGELOG.md" "$at/issues" >> pyproject.toml
fi
make dist
python -m venv dist/environment
dist/environment/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements.lock
dist/environment/bin/python -m pip install --disable-pip-version-check --quiet --no-deps dist/*.whl
told=$(dist/environment/bin/sentiflow --version)
rm -r dist/environment
[ "$told" = "sentiflow $version" ] || { echo "The wheel says '$told'." >&2; exit 1; }
