// A folder in which the real terraform applies the local example: the provider from a mirror, state and hosts of its own, all gone afterwards.
import { spawn } from 'node:child_process';
import { accessSync, constants, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { fail } from '../../errors.ts';

const CHECKOUT = fileURLToPath(new URL('../../../../../', import.meta.url)).replace(/\/$/, '');
const TERRAFORM_DIR = join(CHECKOUT, 'infra/terraform');
const LIMIT_MS = 300_000;
const NETWORK_TRIES = 20;

export type Finished = { readonly code: number; readonly stdout: string; readonly stderr: string };

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
export function whyNoTerraform(path = process.env['PATH'] ?? ''): string | undefined {
  if (process.platform !== 'linux') return 'the hosts of the local example need Linux';
  if (findTerraform(path) === undefined) return 'there is no terraform on PATH (https://developer.hashicorp.com/terraform/install)';
  return existsSync(TERRAFORM_DIR) ? undefined : 'the modules are not here: it is walked in a checkout';
}

function findTerraform(path: string): string | undefined {
  return path
    .split(delimiter)
    .map((directory) => join(directory, 'terraform'))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Lays the folder out: modules, example and the provider's mirror. Ports are for what the hosts have on common loopback. */
export async function openTerraformWorkspace(ports: { readonly application: number; readonly eastStore: number; readonly westStore: number }): Promise<TerraformWorkspace> {
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
    // Whatever becomes of this process, the hosts do not outlive it.
    ends_with: String(process.pid),
  };
  const env = {
    ...process.env,
    CHECKPOINT_DISABLE: '1',
    TF_IN_AUTOMATION: '1',
    TF_CLI_CONFIG_FILE: cliConfig,
    ISTHMUS_CHECKOUT: CHECKOUT,
    ...Object.fromEntries(Object.entries(variables).map(([name, value]) => [`TF_VAR_${name}`, value])),
  };
  const host = join(example, 'host');
  const checked = async (what: string, finished: Promise<Finished>, codes: readonly number[] = [0]): Promise<Finished> => {
    const { code, stdout, stderr } = await finished;
    if (codes.includes(code)) return { code, stdout, stderr };
    throw fail('CLI_CHECK_FAILED', `${what} ended with ${code}: ${`${stderr}\n${stdout}`.trim().split('\n').slice(-40).join('\n')}`);
  };
  const { layOutMirror } = await import('../../commands/terraform.ts');
  const { writeFileSync } = await import('node:fs');
  writeFileSync(cliConfig, (await layOutMirror(join(directory, 'mirror'), { isLink: true })).cliConfig);
  return {
    network,
    terraform: (args, codes) => checked(`terraform ${args.join(' ')}`, run('terraform', [...args], { cwd: example, env }), codes),
    onHost: (name, command) => checked(`${command} on ${name}`, run('sh', [host, 'run', join(hosts, name), command], { cwd: directory, env })),
    processes: () => processesUnder(hosts),
    close: async () => {
      const names = existsSync(hosts) ? readdirSync(hosts) : [];
      await Promise.all(names.map((name) => run('sh', [host, 'down', join(hosts, name)], { cwd: directory, env })));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A part of 127.0.0.0/8 in which nobody listens where the trust root will. */
async function findNetwork(): Promise<string> {
  for (let i = 0; i < NETWORK_TRIES; i += 1) {
    const network = `127.${2 + Math.floor(systemRandom.next() * 250)}`;
    const isFree = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen({ host: `${network}.0.1`, port: 7_000, exclusive: true }, () => server.close(() => resolve(true)));
    });
    if (isFree) return network;
  }
  throw fail('CLI_PORT_BUSY', `port 7000 is taken on each of ${NETWORK_TRIES} addresses in 127.0.0.0/8`);
}

/** Command lines of processes that name the folder. */
function processesUnder(folder: string): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readProcText(pid);
      } catch {
        // It ended in between.
        return '';
      }
    })
    .filter((line) => line.includes(`${folder}/`) && !line.includes('while kill -0'));
}

async function run(command: string, args: readonly string[], options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv }): Promise<Finished> {
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const limit = systemClock.setTimer(LIMIT_MS, () => child.kill('SIGKILL'));
  const exited = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 137));
  });
  try {
    const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
    return { code, stdout, stderr };
  } finally {
    limit.cancel();
  }
}
