// A folder in which the real terraform applies the local example: the provider from a mirror, state and hosts of its own, all gone afterwards.
import { cpSync, existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { fail } from '../../errors.ts';
import type { StoreKind } from '../federation.ts';
import { COMPILE_CACHE_DIR, lastLines } from '../process.ts';
import { findProgram, type Finished, run } from '../run.ts';

const CHECKOUT = fileURLToPath(new URL('../../../../../', import.meta.url)).replace(/\/$/, '');
const TERRAFORM_DIR = join(CHECKOUT, 'infra/terraform');
const LIMIT_MS = 300_000;
const NETWORK_TRIES = 20;

export interface TerraformWorkspace {
  /** First two numbers of the hosts’ addresses. */
  readonly network: string;
  /** Runs terraform with these arguments; `codes` are those that are no failure. **Throws** CLI_CHECK_FAILED with what it said. */
  terraform(args: readonly string[], codes?: readonly number[]): Promise<Finished>;
  /** A shell command on one of the hosts. **Throws** CLI_CHECK_FAILED with what it said. */
  onHost(host: string, command: string): Promise<Finished>;
  /** Processes of the hosts that run now. */
  processes(): readonly string[];
  /** Ends what runs and removes the folder. */
  close(): Promise<void>;
}

/** Why the tour cannot be walked here, or undefined where it can. */
export function whyNoTerraform(): string | undefined {
  if (process.platform !== 'linux') return 'the hosts of the local example need Linux';
  if (findProgram('terraform') === undefined) return 'there is no terraform on PATH (https://developer.hashicorp.com/terraform/install)';
  return existsSync(TERRAFORM_DIR) ? undefined : 'the modules are not here: it is walked in a checkout';
}

export type TerraformOptions = {
  /** East's; west keeps its store itself. */
  readonly store: StoreKind;
  /** For what the hosts have on common loopback. */
  readonly ports: { readonly application: number; readonly eastStore: number; readonly westStore: number; readonly eastStorePeers: number };
  /** Interrupts what runs. */
  readonly signal: AbortSignal;
};

/** Lays the folder out: modules, example and the provider's mirror. */
export async function openTerraformWorkspace({ store, ports, signal }: TerraformOptions): Promise<TerraformWorkspace> {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-tf-'));
  const hosts = join(directory, 'h');
  const example = join(directory, 'terraform/examples/local');
  for (const folder of ['modules', 'examples/local']) cpSync(join(TERRAFORM_DIR, folder), join(directory, 'terraform', folder), { recursive: true, filter: (path) => !/\/\.terraform|\.tfstate/.test(path) });
  mkdirSync(hosts, { mode: 0o700 });
  const network = await findNetwork();
  const cliConfig = join(directory, 'terraformrc');
  const sample = [process.execPath, join(CHECKOUT, 'apps/cli/src/demo/sample-workload.ts')].join(' ');
  const variables = {
    directory: hosts,
    network,
    application: sample,
    application_port: String(ports.application),
    embedded_store_ports: JSON.stringify({ east: ports.eastStore, west: ports.westStore }),
    ...(store === 'etcd' && { east_etcd: JSON.stringify(await etcdVariable(join(directory, 'etcd-tls'), ports.eastStore, ports.eastStorePeers)) }),
    // Whatever becomes of this process, the hosts do not outlive it.
    ends_with: String(process.pid),
  };
  const env = {
    CHECKPOINT_DISABLE: '1',
    TF_IN_AUTOMATION: '1',
    // Terraform starts the provider for each thing it does.
    NODE_COMPILE_CACHE: COMPILE_CACHE_DIR,
    TF_CLI_CONFIG_FILE: cliConfig,
    ISTHMUS_CHECKOUT: CHECKOUT,
    ...Object.fromEntries(Object.entries(variables).map(([name, value]) => [`TF_VAR_${name}`, value])),
  };
  const host = join(example, 'host');
  const checked = async (what: string, finished: Promise<Finished>, codes: readonly number[] = [0]): Promise<Finished> => {
    const { code, signal: signalName, stdout, stderr } = await finished;
    if (code !== null && codes.includes(code)) return finished;
    throw fail('CLI_CHECK_FAILED', `${what} ended with ${code ?? signalName}: ${`${stderr}\n${stdout}`.trim().split('\n').slice(-40).join('\n')}\n${lastOfLogs(hosts)}`);
  };
  const { layOutMirror } = await import('../../commands/terraform.ts');
  writeFileSync(cliConfig, (await layOutMirror(join(directory, 'mirror'), { isLink: true })).cliConfig);
  return {
    network,
    terraform: (args, codes) => checked(`terraform ${args.join(' ')}`, run('terraform', args, { cwd: example, env, signal, limitMs: LIMIT_MS }), codes),
    onHost: (name, command) => checked(`${command} on ${name}`, run('sh', [host, 'run', join(hosts, name), command], { cwd: directory, env, limitMs: LIMIT_MS })),
    processes: () => processesUnder(hosts),
    close: async () => {
      const names = existsSync(hosts) ? readdirSync(hosts) : [];
      await Promise.all(names.map((name) => run('sh', [host, 'down', join(hosts, name)], { cwd: directory, env, limitMs: LIMIT_MS })));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** What the example takes of an etcd: its ports, and certificates made here. */
async function etcdVariable(directory: string, clientPort: number, peerPort: number): Promise<object> {
  const { makeStoreTls } = await import('@isthmus/store');
  const files = await makeStoreTls(directory, { nowMs: systemClock.nowMs() });
  const [ca, clientCert, clientKey, cert, key] = [files.caFile, files.clientCertFile, files.clientKeyFile, files.serverCertFile, files.serverKeyFile].map((file) => readFileSync(file, 'utf8'));
  return { client_port: clientPort, peer_port: peerPort, ca, client_cert: clientCert, client_key: clientKey, cert, key };
}

/** A part of 127.0.0.0/8 in which nobody listens where the trust root will. */
async function findNetwork(): Promise<string> {
  for (let i = 0; i < NETWORK_TRIES; i += 1) {
    const network = `127.${2 + Math.floor(systemRandom() * 250)}`;
    const isFree = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen({ host: `${network}.0.1`, port: 7_000, exclusive: true }, () => server.close(() => resolve(true)));
    });
    if (isFree) return network;
  }
  throw fail('CLI_PORT_BUSY', `port 7000 is taken on each of ${NETWORK_TRIES} addresses in 127.0.0.0/8`);
}

/** What each program of the hosts said last. */
function lastOfLogs(hosts: string): string {
  const files = globSync('*/log/*.log', { cwd: hosts });
  return files.map((file) => `${file}: ${lastLines(join(hosts, file), 1).slice(0, 300)}`).join('\n');
}

/** Command lines of processes that name the folder. */
function processesUnder(folder: string): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        // It ended in between.
        return '';
      }
    })
    .filter((line) => line.includes(`${folder}/`) && !line.includes('while kill -0'));
}
