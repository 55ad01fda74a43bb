// `isthmus agent install-script`: a POSIX shell script that lets one host in, with the checksums of what it installs.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '@isthmus/model';
import type { CommandContext } from '../context.ts';
import { fail } from '../errors.ts';
import { printOutcome } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { joinTokenOf } from './host.ts';

/** What a script is made of; it holds the token. */
export type InstallPlan = {
  readonly agent: string;
  readonly cluster: string;
  readonly token: string;
  readonly version: string;
  /** SHA-256 in hex by file name. */
  readonly sums: ReadonlyMap<string, string>;
  readonly url: string | undefined;
  /** Arguments of `isthmus-agent join` besides the token. */
  readonly join: readonly string[];
  readonly starts: boolean;
};

/** A server that says nothing for so long is given up; three times at most. */
const FETCH_STALL_SECONDS = 20;
const JOIN_OPTIONS = ['network', 'locality', 'address', 'callAs', 'dnsPort'] as const;

/** Prints the script. **Throws** CLI_BAD_INPUT for a token, release or option that cannot be. */
export async function printInstallScript(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const { token, agent, cluster } = await joinTokenOf(options);
  const server = String(options['server']);
  if (!/^[^\s:]+:\d{1,5}$/.test(server)) throw fail('CLI_BAD_INPUT', `--server ${server} is no host:port`);
  const url = typeof options['url'] === 'string' ? options['url'].replace(/\/+$/, '') : undefined;
  if (url !== undefined && !/^https?:\/\/[^\s']+$/.test(url)) throw fail('CLI_BAD_INPUT', `--url ${url} is no http or https URL`);
  const { version, sums } = readSums(await sumsIn(String(options['packages'])));
  const given = JOIN_OPTIONS.flatMap((name) => (typeof options[name] === 'string' ? [`--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`, options[name]] : []));
  const flags = [...(options['resolver'] === true ? ['--resolver'] : []), ...(options['capture'] === true ? ['--capture'] : []), ...(options['start'] === false ? ['--no-start'] : [])];
  const script = installScript({ agent, cluster, token, version, sums, url, join: ['--server', server, ...given, ...flags], starts: options['start'] !== false });
  printOutcome(context, script.trimEnd(), { agent, cluster, version, script });
}

async function sumsIn(directory: string): Promise<string> {
  return readFile(join(directory, 'SHA256SUMS'), 'utf8').catch((cause: unknown) => {
    throw fail('CLI_BAD_INPUT', `${directory} holds no release: ${messageOf(cause)}`, { hint: '`npm run release` makes one', cause });
  });
}

/** The packages that an agent needs, of a release's SHA256SUMS. **Throws** CLI_BAD_INPUT where one is missing. */
export function readSums(text: string): { readonly version: string; readonly sums: ReadonlyMap<string, string> } {
  const sums = new Map<string, string>();
  const versions = new Set<string>();
  for (const line of text.split('\n')) {
    const [, sum = '', file = '', version = ''] = /^([0-9a-f]{64}) {2}(isthmus(?:-agent)?_([0-9A-Za-z.+~-]+)_[a-z0-9]+\.deb)$/.exec(line) ?? [];
    if (file === '') continue;
    sums.set(file, sum);
    versions.add(version);
  }
  const [version, ...more] = versions;
  if (version === undefined || more.length > 0) throw fail('CLI_BAD_INPUT', version === undefined ? 'SHA256SUMS names no Debian packages of isthmus' : `SHA256SUMS names several versions: ${[...versions].join(', ')}`);
  for (const file of sums.keys()) {
    const other = file.startsWith('isthmus-agent_') ? file.replace('isthmus-agent_', 'isthmus_') : file.replace('isthmus_', 'isthmus-agent_');
    if (!sums.has(other)) throw fail('CLI_BAD_INPUT', `SHA256SUMS names ${file} and not ${other}`);
  }
  return { version, sums };
}

/** The script as text. Every value is quoted; nothing in it is read as a command. */
export function installScript(plan: InstallPlan): string {
  const { agent, cluster, token, version, sums, url, starts } = plan;
  return `#!/bin/sh
# Lets a Debian host into an Isthmus federation: agent ${agent} of cluster ${cluster}. It holds a join token, which works once:
# keep it as you keep a password. ${url === undefined ? 'Run it as root with the directory of the packages.' : 'Run it as root; with a directory it takes the packages from there.'}
# It may be run again whenever it was stopped: it goes on, and changes nothing that is done.
set -eu
version=${quoted(version)}
work=/var/cache/isthmus-install

fail() {
  printf 'isthmus install: %s\\n' "$1" >&2
  exit 1
}

sum_of() {
  case $1 in
${[...sums].map(([file, sum]) => `    ${file}) echo ${sum} ;;`).join('\n')}
    *) ;;
  esac
}

is_installed() {
  [ "$(dpkg-query -W -f '\${Status} \${Version}' "$1" 2>/dev/null)" = "install ok installed $version" ]
}

${url === undefined ? '' : `not_fetched() {
  # curl says its reason first and advice after it, wget its reason last, and of a connection that was cut off nothing.
  why=$(printf '%s\\n' "$said" | grep -m 1 '^curl: ' || printf '%s\\n' "$said" | grep . | tail -n 1)
  fail "$1 could not be fetched from "${quoted(url)}" (\${why:-the connection was cut off}); nothing was installed"
}

`}fetch() {
  if [ -n "$from" ]; then
    cp "$from/$1" "$work/$1" 2>/dev/null || fail "$from/$1 cannot be read; nothing was installed"
${
  url === undefined
    ? `  else
    fail 'name the directory that holds the packages'`
    : `  elif command -v curl >/dev/null 2>&1; then
    said=$(curl -fsSL --connect-timeout ${FETCH_STALL_SECONDS} --speed-limit 1 --speed-time ${FETCH_STALL_SECONDS} --retry 2 -o "$work/$1" ${quoted(`${url}/`)}"$1" 2>&1) || not_fetched "$1"
  elif command -v wget >/dev/null 2>&1; then
    said=$(wget -nv --timeout=${FETCH_STALL_SECONDS} --tries=3 -O "$work/$1" ${quoted(`${url}/`)}"$1" 2>&1) || not_fetched "$1"
  else
    fail "neither curl nor wget is here: fetch the packages from "${quoted(url)}" and name their directory"`
}
  fi
  is=$(sha256sum "$work/$1")
  [ "\${is%% *}" = "$(sum_of "$1")" ] || fail "$1 is not the one that was released: its SHA-256 is \${is%% *} and not $(sum_of "$1"); nothing was installed"
}

install_packages() {
  arch=$(dpkg --print-architecture)
  for name in isthmus isthmus-agent; do
    [ -n "$(sum_of "\${name}_\${version}_\${arch}.deb")" ] || fail "there is no package of $name $version for $arch"
  done
  rm -rf "$work"
  mkdir -p -m 0700 "$work"
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' HUP INT TERM
  for name in isthmus isthmus-agent; do fetch "\${name}_\${version}_\${arch}.deb"; done
  # Where an earlier run was killed in the middle.
  dpkg --configure -a
  set -- "$work/isthmus_\${version}_\${arch}.deb" "$work/isthmus-agent_\${version}_\${arch}.deb"
  if command -v apt-get >/dev/null 2>&1; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
  else
    dpkg -i "$@"
  fi
  rm -rf "$work"
}

main() {
  from=\${1:-}
  [ "$(id -u)" = 0 ] || fail 'run it as root'
  command -v dpkg >/dev/null 2>&1 || fail 'this is no Debian: there is no dpkg'
  here=$(dpkg-query -W -f '\${Version}' isthmus 2>/dev/null || true)
  if [ -n "$here" ] && dpkg --compare-versions "$here" gt "$version"; then
    printf 'isthmus %s is installed, which is newer than %s: it is kept\\n' "$here" "$version"
  elif ! { is_installed isthmus && is_installed isthmus-agent; }; then
    install_packages
  fi
  if [ -e /etc/isthmus/agent.yaml ]; then
${starts ? "    if [ -d /run/systemd/system ]; then systemctl enable --now --quiet isthmus-agent.service; fi\n" : ''}    echo 'this host has joined already'
    return
  fi
  printf '%s\\n' ${quoted(token)} | isthmus-agent join --token-file - ${plan.join.map(quoted).join(' ')}
}

# Read whole before anything is done: a script that was cut off on its way does nothing.
main "$@"
`;
}

/** One word of sh: in single quotes, with each of its own taken out of them. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
