#!/bin/sh
# Programs from outside of Python that some tests drive: PostgreSQL, Postfix, mail
# programs, node with nodemailer. As root on Debian or Ubuntu they are installed
# (NO_APT=1 forbids it); no service that comes with them is started. Anywhere else, and
# without a network, the tests that want them are skipped, and this script names them.
# It never fails.
here=$(cd "$(dirname "$0")" && pwd)

# Each line: a name for people, what proves that it is there, its Debian packages.
# Packages that a program only recommends are named as well: swaks speaks TLS through
# Perl's Net::SSLeay, and mutt and msmtp log in through SASL's modules. What drives
# Chromium comes with Playwright, and needs libatomic.
wanted() {
  cat <<'END'
PostgreSQL|has_postgres|postgresql
Postfix|has_postfix|postfix
swaks|command -v swaks|swaks
swaks with TLS (Net::SSLeay)|perl -MNet::SSLeay -e 1|libnet-ssleay-perl
msmtp|command -v msmtp|msmtp ca-certificates
curl|command -v curl|curl ca-certificates
mutt|command -v mutt|mutt libsasl2-modules
openssl|command -v openssl|openssl
node|command -v node|nodejs
npm|command -v npm|npm
Chromium|command -v chromium|chromium fonts-dejavu-core
libatomic (for Playwright)|has_libatomic|libatomic1
END
}

has_postgres() {
  command -v initdb >/dev/null 2>&1 && return 0
  for initdb in /usr/lib/postgresql/*/bin/initdb; do
    [ -x "$initdb" ] && return 0
  done
  return 1
}

# The tests run a Postfix of their own; it needs the programs and these two names.
has_postfix() {
  [ -x "${POSTFIX_ROOT:-}/usr/sbin/postfix" ] &&
    grep -q '^postfix:' /etc/passwd && grep -q '^postdrop:' /etc/group
}

has_libatomic() {
  find /lib /usr/lib -name libatomic.so.1 2>/dev/null | grep -q .
}

# Prints what is missing, one field of `wanted` a line: 1 the name, 3 the packages.
missing() {
  wanted | while IFS='|' read -r name proof packages; do
    eval "$proof" >/dev/null 2>&1 </dev/null || printf '%s|%s\n' "$name" "$packages"
  done | cut -d'|' -f"$1"
}

# A Debian machine has one mail server: installing Postfix would remove another.
another_mail_server() {
  [ -e /usr/sbin/sendmail ] && [ ! -x /usr/sbin/postfix ]
}

apt() {
  DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq -y \
    -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$@" </dev/null >/dev/null 2>&1
}

install_packages() {
  echo "Installing for the tests: $(echo $1)"
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
  fi
  apt update || true
  case $1 in
    *postgresql*)
      apt install --no-install-recommends postgresql-common &&
        sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' \
          /etc/postgresql-common/createcluster.conf 2>/dev/null
      ;;
  esac
  case $1 in
    *postfix*)
      echo 'postfix postfix/main_mailer_type select No configuration' |
        debconf-set-selections >/dev/null 2>&1
      ;;
  esac
  # All at once is quickest; where one cannot be had, the others still come.
  apt install --no-install-recommends $1 || for package in $1; do
    apt install --no-install-recommends "$package" || true
  done
}

packages=$(missing 2)
if another_mail_server; then
  packages=$(echo "$packages" | grep -v '^postfix$')
fi
if [ -n "$packages" ] && [ -z "$NO_APT" ] && [ "$(id -u)" = 0 ] &&
  command -v apt-get >/dev/null 2>&1; then
  install_packages "$packages"
fi

missing 1 | while read -r name; do
  echo "Not found: $name; the tests that use it are skipped."
done

if command -v npm >/dev/null 2>&1 && [ ! -d "$here/node/node_modules/nodemailer" ]; then
  (cd "$here/node" && timeout 300 npm install --no-package-lock --no-audit --no-fund \
    --ignore-scripts --loglevel=error </dev/null >/dev/null 2>&1) ||
    echo "Not found: nodemailer; the tests that use it are skipped."
fi
exit 0
