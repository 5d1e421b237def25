# Functions that the scripts of this folder share.

# Prints the interpreter of a version, from PATH, from a manylinux image or from pyenv; nothing where there is none.
find_python() {
    local candidate
    for candidate in "python$1" "/opt/python/cp${1/./}-cp${1/./}/bin/python" \
        "${HOME:-}/.pyenv/versions/$1".*/bin/python; do
        if "$candidate" -c "import sys, ensurepip; assert '%d.%d' % sys.version_info[:2] == '$1'" 2>/dev/null
        then
            printf '%s' "$candidate"
            return
        fi
    done
}

# Prints the existing files that git tracks or does not ignore, each ended by a zero byte. Options and paths
# are those of git ls-files.
list_files() {
    local file
    git ls-files -z --cached --others --exclude-standard --deduplicate "$@" |
        while IFS= read -rd '' file; do [[ ! -e $file ]] || printf '%s\0' "$file"; done
}
