# Sourced by every command of this folder.
# shellcheck shell=bash disable=SC1091
here=$(dirname "${BASH_SOURCE[0]}")
source "$here/stack.sh"
load_settings
source "$here/process.sh"
source "$here/packages.sh"
source "$here/downloads.sh"
source "$here/kafka.sh"
source "$here/connect.sh"
source "$here/postgres.sh"
source "$here/redis.sh"
