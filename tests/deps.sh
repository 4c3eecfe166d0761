#!/bin/sh
# Programs from outside of Python that some tests drive: PostgreSQL, mail programs, node
# with nodemailer. As root on Debian or Ubuntu they are installed (NO_APT=1 forbids it);
# anywhere else, and without a network, the tests that want them are skipped, and this
# script says which. It never fails.
here=$(cd "$(dirname "$0")" && pwd)

postgres_missing() {
  command -v initdb >/dev/null 2>&1 && return 1
  for initdb in /usr/lib/postgresql/*/bin/initdb; do
    [ -x "$initdb" ] && return 1
  done
  return 0
}

# Prints the Debian packages of what is not there.
missing() {
  postgres_missing && echo postgresql
  for program in swaks msmtp curl mutt npm; do
    command -v "$program" >/dev/null 2>&1 || echo "$program"
  done
  command -v node >/dev/null 2>&1 || echo nodejs
}

apt() {
  DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq -y \
    -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$@" </dev/null >/dev/null 2>&1
}

install_packages() {
  echo "Installing for the tests: $(echo $1)"
  apt update || true
  # The tests start a PostgreSQL of their own; the package must not start one as well.
  case $1 in
    *postgresql*)
      apt install --no-install-recommends postgresql-common &&
        sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' \
          /etc/postgresql-common/createcluster.conf 2>/dev/null
      ;;
  esac
  for package in $1; do
    apt install --no-install-recommends "$package" || true
  done
}

wanted=$(missing)
if [ -n "$wanted" ] && [ -z "$NO_APT" ] && [ "$(id -u)" = 0 ] &&
  command -v apt-get >/dev/null 2>&1; then
  install_packages "$wanted"
fi

for program in $(missing); do
  echo "Not found: $program; the tests that use it are skipped."
done

if command -v npm >/dev/null 2>&1 && [ ! -d "$here/node/node_modules/nodemailer" ]; then
  (cd "$here/node" && timeout 120 npm install --no-package-lock --no-audit --no-fund \
    --ignore-scripts --loglevel=error </dev/null >/dev/null 2>&1) ||
    echo "Not found: nodemailer; the tests that use it are skipped."
fi
exit 0
