// The terraform tour: the real terraform makes two clusters and a VM out of the modules, changes, mends, takes over and destroys them.
import { waitFor } from '../supervisor.ts';
import { request } from '../traffic.ts';
import { need } from './step.ts';
import { openTerraformWorkspace, type TerraformWorkspace } from './terraform-workspace.ts';
import type { AloneWalk } from './tours.ts';

/** The slow part is the start of ten processes, on a machine that may have much else to do. */
const ANSWER_LIMIT_MS = 60_000;
const PLAN = ['plan', '-detailed-exitcode', '-no-color', '-input=false'];
const APPLY = ['apply', '-auto-approve', '-no-color', '-input=false'];
/** What was planned is what is applied. */
const PLAN_FILE = 'planned';
/** `-detailed-exitcode`: nothing to do, or something. */
const SAME = 0;
const DIFFERENT = 2;
const CHANGED = ['-var', 'ledger_consumers=["east","north"]', '-var', 'ledger_weight=50'];

/** Walks it; each step begins where the one before ended, so the first that does not hold is the last. */
export async function walkTerraform({ record, store, ports, signal }: AloneWalk): Promise<void> {
  const [application = 0, eastStore = 0, westStore = 0, eastStorePeers = 0] = ports;
  const workspace = await openTerraformWorkspace({ store, ports: { application, eastStore, westStore, eastStorePeers }, signal });
  try {
    for (const [name, step] of STEPS) if (!(await record.step(name, () => step(workspace)))) return;
  } finally {
    await workspace.close();
  }
}

type Step = (workspace: TerraformWorkspace) => Promise<{ readonly detail: string; readonly measured?: Readonly<Record<string, unknown>> }>;

const STEPS: readonly (readonly [string, Step])[] = [
  ['provider-installed', install],
  ['nonsense-refused', refuseNonsense],
  ['federation-applied', applyAll],
  ['request-crosses-clusters', crossClusters],
  ['change-applied', change],
  ['drift-mended', mendDrift],
  ['service-imported', takeOver],
  ['federation-destroyed', destroy],
];

async function install({ terraform }: TerraformWorkspace) {
  const { stdout } = await terraform(['init', '-no-color', '-input=false']);
  need(/Installed isthmus\.example\/isthmus\/isthmus v\S+/.test(stdout), `terraform init installed no provider: ${stdout}`);
  const version = JSON.parse((await terraform(['version', '-json'])).stdout) as { readonly terraform_version: string; readonly provider_selections: Readonly<Record<string, string>> };
  const [[, providerVersion] = []] = Object.entries(version.provider_selections);
  return { detail: `terraform ${version.terraform_version} took the provider ${providerVersion} from a folder, no registry was asked`, measured: { terraform: version.terraform_version, provider: providerVersion } };
}

/** Variables of the modules that make no sense, all at once: each is named, and nothing is made. */
async function refuseNonsense({ terraform }: TerraformWorkspace) {
  const { stderr } = await terraform([...PLAN, '-var', 'federation=Acme Example', '-var', 'embedded_store_ports={east=70000,west=2}'], [1]);
  for (const name of ['trust_domain', 'embedded_store_port']) need(new RegExp(`^│? *${name}: `, 'm').test(stderr), `the refusal does not name ${name}: ${stderr}`);
  need((await terraform(['state', 'list'], [0, 1])).stdout.trim() === '', 'something was made all the same');
  return { detail: 'a trust domain and a port that make no sense are refused by the variables they came to; nothing was made' };
}

async function applyAll({ terraform, processes }: TerraformWorkspace) {
  const plan = await terraform([...PLAN, `-out=${PLAN_FILE}`], [DIFFERENT]);
  const planned = /Plan: (\d+) to add, 0 to change, 0 to destroy/.exec(plan.stdout)?.[1];
  need(planned !== undefined, `the plan does more than add: ${plan.stdout}`);
  const applied = await terraform([...APPLY, PLAN_FILE]);
  need(applied.stdout.includes(`${planned} added, 0 changed, 0 destroyed`), applied.stdout);
  await settled(terraform);
  const running = processes().length;
  need(running > 0, 'no process runs');
  return { detail: `one apply made ${planned} resources and ${running} processes: trust root, two clusters, a workload and a VM; a second plan has nothing to do`, measured: { resources: Number(planned), processes: running } };
}

async function crossClusters(workspace: TerraformWorkspace) {
  const { caller, latencyMs } = await answer(workspace);
  need(caller?.includes('URI=spiffe://east.') === true, `the caller was not proven: ${caller}`);
  return { detail: `the VM of east called ledger, which only west has, as ${/URI=(\S+)/.exec(caller)?.[1]}, in ${Math.round(latencyMs)} ms`, measured: { latencyMs: Math.round(latencyMs) } };
}

async function change(workspace: TerraformWorkspace) {
  const { terraform, onHost } = workspace;
  const applied = await terraform([...APPLY, ...CHANGED]);
  need(/Resources: 1 added, 1 changed, 1 destroyed/.test(applied.stdout), `not one export changed and one host made anew: ${applied.stdout.slice(-400)}`);
  await settled(terraform, CHANGED);
  const seen = await onHost('west', 'isthmus export list -o json --socket "$HOST_ROOT/var/lib/isthmus/control-plane/admin.sock"');
  need(seen.stdout.includes('north'), `west exports as before: ${seen.stdout}`);
  await answer(workspace);
  return { detail: 'the export has a consumer more, the workload another weight: one changed in place, one host started anew; the VM is answered, and a second plan has nothing to do' };
}

async function mendDrift(workspace: TerraformWorkspace) {
  const { terraform, onHost } = workspace;
  await onHost('west', 'isthmus export delete shop/ledger --socket "$HOST_ROOT/var/lib/isthmus/control-plane/admin.sock"');
  await waitFor('the VM to be refused', ANSWER_LIMIT_MS, async () => ((await ask(workspace)).ok ? undefined : true), 100);
  const plan = await terraform([...PLAN, `-out=${PLAN_FILE}`, ...CHANGED], [DIFFERENT]);
  need(/isthmus_export\.ledger will be created/.test(plan.stdout) && /Plan: 1 to add, 0 to change, 0 to destroy/.test(plan.stdout), `the plan is not to put the export back: ${plan.stdout}`);
  await terraform([...APPLY, PLAN_FILE]);
  await answer(workspace);
  await settled(terraform, CHANGED);
  return { detail: 'an export deleted behind its back: the VM was refused, the plan put back that one resource, and the VM is answered again' };
}

async function takeOver({ terraform }: TerraformWorkspace) {
  await terraform(['state', 'rm', '-no-color', 'isthmus_service.ledger']);
  await terraform(['import', '-no-color', '-input=false', ...CHANGED, 'isthmus_service.ledger', 'west/shop/ledger']);
  await settled(terraform, CHANGED);
  return { detail: 'isthmus_service.ledger, forgotten by Terraform, is taken over by its ID west/shop/ledger; a plan has nothing to do' };
}

async function destroy({ terraform, processes }: TerraformWorkspace) {
  const { stdout } = await terraform(['destroy', '-auto-approve', '-no-color', '-input=false', ...CHANGED]);
  const destroyed = /Destroy complete! Resources: (\d+) destroyed/.exec(stdout)?.[1];
  need(destroyed !== undefined, stdout);
  const left = processes();
  need(left.length === 0, `still running: ${left.join('; ')}`);
  await terraform([...PLAN, '-destroy', ...CHANGED], [SAME]);
  return { detail: `${destroyed} resources, every process and every file gone`, measured: { resources: Number(destroyed) } };
}

async function settled(terraform: TerraformWorkspace['terraform'], variables: readonly string[] = []): Promise<void> {
  const { code, stdout } = await terraform([...PLAN, ...variables], [SAME, DIFFERENT]);
  need(code === SAME, `there is more to do: ${stdout}`);
}

const ask = ({ network }: TerraformWorkspace) => request({ host: `${network}.3.1`, port: 8_100 });

/** The answer from west, once what was changed is in force at the VM. */
function answer(workspace: TerraformWorkspace) {
  return waitFor('the VM to be answered by ledger in west', ANSWER_LIMIT_MS, async () => {
    const outcome = await ask(workspace);
    if (!outcome.ok) throw new Error(outcome.why);
    need(outcome.cluster === 'west', `${outcome.cluster} answered`);
    return outcome;
  }, 100);
}
