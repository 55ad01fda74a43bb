// SPIRE for tests: a server and an agent of a trust domain of their own, in a directory, on loopback.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { findProgram, run, waitFor } from '@isthmus/harness';

export type SpireProfile = 'https_spiffe' | { readonly certificateFile: string; readonly keyFile: string };

/** Where SPIRE's program of that name is: in ISTHMUS_SPIRE or on PATH; undefined where it is not. */
export function spireProgram(name: 'spire-server' | 'spire-agent'): string | undefined {
  const given = process.env['ISTHMUS_SPIRE'];
  const built = given === undefined ? undefined : join(given.split(delimiter)[0] ?? '', name);
  return built !== undefined && existsSync(built) ? built : findProgram(name);
}

export type SpireServer = {
  readonly trustDomain: string;
  readonly spiffeId: string;
  readonly bundleUrl: string;
  /** Runs a command of `spire-server` against it; **throws** with what it said when it fails. */
  command(...args: string[]): Promise<string>;
  /** Starts an agent that joins by token, and gets the X.509-SVID of a workload of this process's user; PEM. */
  workloadSvid(spiffeId: string, federatesWith: string): Promise<{ readonly certPem: string; readonly keyPem: string; readonly federatedPem: string }>;
  log(): string;
  close(): void;
};

export async function startSpire(options: {
  readonly directory: string;
  readonly trustDomain: string;
  readonly ports: { readonly api: number; readonly bundle: number };
  readonly profile: SpireProfile;
  readonly env?: Readonly<Record<string, string>>;
}): Promise<SpireServer> {
  const { directory, trustDomain, ports, profile, env = {} } = options;
  const server = spireProgram('spire-server') ?? 'spire-server';
  mkdirSync(join(directory, 'data'), { recursive: true });
  const socket = join(directory, 'api.sock');
  const children: ChildProcess[] = [];
  let log = '';
  const start = (program: string, args: readonly string[]): void => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text: string) => (log = (log + text).slice(-100_000)));
    children.push(child);
  };
  const proof = profile === 'https_spiffe' ? 'profile "https_spiffe" {}' : `profile "https_web" { serving_cert_file {\n cert_file_path = "${profile.certificateFile}"\n key_file_path = "${profile.keyFile}"\n file_sync_interval = "1m"\n } }`;
  writeFileSync(join(directory, 'server.conf'), `
server {
  bind_address = "127.0.0.1"
  bind_port = "${ports.api}"
  socket_path = "${socket}"
  trust_domain = "${trustDomain}"
  data_dir = "${join(directory, 'data')}"
  log_level = "DEBUG"
  federation {
    bundle_endpoint {
      address = "127.0.0.1"
      port = ${ports.bundle}
      refresh_hint = "1m"
      ${proof}
    }
  }
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "${join(directory, 'data/store.sqlite3')}" } }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
}
`);
  start(server, ['run', '-config', join(directory, 'server.conf')]);
  const command = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await run(server, [...args, '-socketPath', socket], { limitMs: 60_000 });
    if (code !== 0) throw new Error(`spire-server ${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  };
  const close = (): void => {
    for (const child of children) child.kill('SIGKILL');
  };
  const ended = new Promise<never>((_resolve, reject) => children[0]?.once('exit', (code) => reject(new Error(`ended with ${code}`))));
  const ready = waitFor('SPIRE', 60_000, async () => command('healthcheck').catch(() => undefined));
  ready.catch(() => undefined);
  ended.catch(() => undefined);
  await Promise.race([ready, ended]).catch((error: unknown) => {
    close();
    throw new Error(`SPIRE did not start: ${log}`, { cause: error });
  });

  return {
    trustDomain,
    spiffeId: `spiffe://${trustDomain}/spire/server`,
    bundleUrl: `https://127.0.0.1:${ports.bundle}`,
    command,
    async workloadSvid(spiffeId, federatesWith) {
      const agent = spireProgram('spire-agent') ?? 'spire-agent';
      const agentId = `spiffe://${trustDomain}/machine`;
      const token = /Token: (\S+)/.exec(await command('token', 'generate', '-spiffeID', agentId))?.[1] ?? '';
      const trustFile = join(directory, 'bootstrap.pem');
      writeFileSync(trustFile, await command('bundle', 'show'));
      const agentSocket = join(directory, 'agent.sock');
      mkdirSync(join(directory, 'agent'), { recursive: true });
      writeFileSync(join(directory, 'agent.conf'), `
agent {
  data_dir = "${join(directory, 'agent')}"
  log_level = "DEBUG"
  server_address = "127.0.0.1"
  server_port = "${ports.api}"
  socket_path = "${agentSocket}"
  trust_bundle_path = "${trustFile}"
  trust_domain = "${trustDomain}"
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
}
`);
      await command('entry', 'create', '-parentID', agentId, '-spiffeID', spiffeId, '-selector', `unix:uid:${process.getuid?.() ?? 0}`, '-federatesWith', federatesWith);
      start(agent, ['run', '-config', join(directory, 'agent.conf'), '-joinToken', token]);
      const out = join(directory, 'svid');
      mkdirSync(out, { recursive: true });
      await waitFor('an SVID of SPIRE', 90_000, async () => {
        const { code } = await run(agent, ['api', 'fetch', 'x509', '-socketPath', agentSocket, '-write', out, '-timeout', '5s'], { limitMs: 20_000 });
        return code === 0 && existsSync(join(out, 'svid.0.pem')) ? true : undefined;
      }).catch((error: unknown) => {
        throw new Error(`no SVID of SPIRE: ${log.slice(-4_000)}`, { cause: error });
      });
      const read = (name: string): string => (existsSync(join(out, name)) ? readFileSync(join(out, name), 'utf8') : '');
      return { certPem: read('svid.0.pem'), keyPem: read('svid.0.key'), federatedPem: read('federated_bundle.0.0.pem') };
    },
    log: () => log,
    close,
  };
}
