// What each package holds, as data: files, links, folders and the scripts that dpkg runs.
import { type Program, PROGRAMS } from './bundle.ts';

/** One Debian package. Paths are those on the host. */
export type PackagePlan = {
  readonly name: string;
  readonly summary: string;
  readonly description: string;
  readonly depends: readonly string[];
  /** Path on the host to the file it is copied from, below the release's or the repository's root. */
  readonly files: readonly PlannedFile[];
  readonly links: readonly { readonly path: string; readonly to: string }[];
  readonly folders: readonly string[];
  /** The systemd unit the package brings, without `.service`. */
  readonly unit: string | undefined;
  /** Packages that some of its settings need. */
  readonly suggests: readonly string[];
};

export type PlannedFile = { readonly path: string; readonly from: { readonly kind: 'executable' | 'native' | 'notices' } | { readonly kind: 'repository'; readonly path: string }; readonly mode: number };

const HOME = '/usr/lib/isthmus';

const SUMMARIES: Readonly<Record<Program, { readonly summary: string; readonly description: string; readonly folders: readonly string[] }>> = {
  'admin-api': { summary: 'the admin API of an Isthmus cluster', description: 'Remote operation of a federation beside the control plane of each cluster: roles, watches, an audit log.', folders: [] },
  agent: {
    summary: 'joins the workloads of this machine to an Isthmus federation',
    description: 'Identity, name resolution, mutual TLS, failover and health checks for the workloads of this machine. `isthmus-agent join` lets it in.',
    folders: ['/etc/isthmus/workloads.d'],
  },
  gateway: { summary: 'the one open port of an Isthmus cluster', description: 'Leads connections between clusters by server name, without ending their TLS.', folders: [] },
  'control-plane': { summary: 'the control plane of one Isthmus cluster', description: 'Registry, identities, federation with other clusters, and snapshots for agents and gateways.', folders: [] },
  'trust-root': { summary: 'the root of trust of an Isthmus federation', description: 'One root CA, its member clusters and their intermediates.', folders: [] },
};

/** Every package of a release: one with the executable and the command line, and a small one for each program. */
export function packagePlans(version: string): readonly PackagePlan[] {
  const executable: PackagePlan = {
    name: 'isthmus',
    summary: 'multi-cluster federation gateway: programs and command line',
    description: 'Services in separate clusters and on plain VMs find each other, fail over to each other and speak mutual TLS to each other. This package holds the programs; those named isthmus-* run them.',
    depends: ['libatomic1', 'libc6 (>= 2.28)', 'libstdc++6'],
    files: [
      { path: `${HOME}/isthmus`, from: { kind: 'executable' }, mode: 0o755 },
      { path: `${HOME}/koffi.node`, from: { kind: 'native' }, mode: 0o644 },
      { path: '/usr/share/doc/isthmus/copyright', from: { kind: 'repository', path: 'LICENSE' }, mode: 0o644 },
      { path: '/usr/share/doc/isthmus/third-party-notices', from: { kind: 'notices' }, mode: 0o644 },
    ],
    links: [{ path: '/usr/bin/isthmus', to: '../lib/isthmus/isthmus' }],
    folders: [],
    unit: undefined,
    suggests: [],
  };
  return [executable, ...PROGRAMS.map((program) => planOf(program, version))];
}

function planOf(program: Program, version: string): PackagePlan {
  const { summary, description, folders } = SUMMARIES[program];
  return {
    name: `isthmus-${program}`,
    summary,
    description,
    depends: [`isthmus (= ${version})`, 'adduser'],
    files: [
      { path: `/usr/lib/systemd/system/isthmus-${program}.service`, from: { kind: 'repository', path: `infra/systemd/isthmus-${program}.service` }, mode: 0o644 },
      ...(COMPANIONS[`isthmus-${program}`] ?? []).map((unit): PlannedFile => ({ path: `/usr/lib/systemd/system/${unit}.service`, from: { kind: 'repository', path: `infra/systemd/${unit}.service` }, mode: 0o644 })),
      { path: `/usr/share/doc/isthmus-${program}/copyright`, from: { kind: 'repository', path: 'LICENSE' }, mode: 0o644 },
    ],
    links: [{ path: `/usr/bin/isthmus-${program}`, to: '../lib/isthmus/isthmus' }],
    folders: ['/etc/isthmus', ...folders],
    unit: `isthmus-${program}`,
    suggests: program === 'agent' ? ['nftables'] : [],
  };
}

/** Units that go with another one. */
const COMPANIONS: Readonly<Record<string, readonly string[]>> = { 'isthmus-agent': ['isthmus-agent-capture'] };

/** Those that hand over to a successor; the others are restarted. */
const HANDS_OVER = new Set(['isthmus-agent', 'isthmus-gateway']);

/** Rules that were put in force by hand. */
const REMOVE_RULES = `if [ "$1" = remove ] && command -v nft >/dev/null 2>&1; then
  nft delete table inet isthmus 2>/dev/null || true
fi
`;

/** The scripts of a package with a unit, by the name dpkg looks for. The state is kept until the package is purged. */
export function maintainerScripts(unit: string): ReadonlyMap<string, string> {
  const program = unit.slice('isthmus-'.length);
  const companions = (COMPANIONS[unit] ?? []).map((name) => `${name}.service`);
  const folders = [`/var/lib/isthmus/${program}`, ...(program === 'agent' ? ['/etc/isthmus/workloads.d'] : [])];
  const hasSystemd = '[ -d /run/systemd/system ]';
  return new Map([
    ['postinst', `#!/bin/sh
set -e
if [ "$1" = configure ]; then
  getent passwd isthmus >/dev/null || adduser --quiet --system --group --no-create-home --home /var/lib/isthmus --shell /usr/sbin/nologin isthmus
  if ${hasSystemd}; then
    systemctl daemon-reload
    # ${HANDS_OVER.has(unit) ? 'On an upgrade the running one hands over to the new one, and ends with its last connection.' : 'On an upgrade the new one takes the place of the running one; traffic does not pass through it.'}
    if [ -n "$2" ]; then systemctl ${HANDS_OVER.has(unit) ? 'try-reload-or-restart' : 'try-restart'} ${unit}.service || true; fi
${companions.map((name) => `    if [ -n "$2" ]; then systemctl try-reload-or-restart ${name} || true; fi\n`).join('')}  fi
fi
`],
    ['prerm', `#!/bin/sh
set -e
if [ "$1" = remove ] && ${hasSystemd}; then
  systemctl disable --now ${[...companions, `${unit}.service`].join(' ')} || true
fi
${unit === 'isthmus-agent' ? REMOVE_RULES : ''}`],
    ['postrm', `#!/bin/sh
set -e
if ${hasSystemd}; then systemctl daemon-reload || true; fi
if [ "$1" = purge ]; then
  rm -rf ${folders.join(' ')} /etc/isthmus/${program}.yaml /etc/isthmus/${program}.token
  rmdir --ignore-fail-on-non-empty /var/lib/isthmus /etc/isthmus /run/isthmus 2>/dev/null || true
fi
`],
  ]);
}
