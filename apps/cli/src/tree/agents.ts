// Commands about the processes that carry traffic: agents, the host they run on, capture, and gateways.
import { type Command, Option } from 'commander';
import { run } from './action.ts';

/** `agent` and `gateway`. */
export function addAgents(program: Command): void {
  const load = () => import('../commands/agent.ts');
  const agent = program.command('agent').description('agents: through the admin API of the context in use, or their own socket');
  addHost(agent);
  agent.command('status [agent]').description('how an agent is: over a context what its cluster knows of it, else its own account (default: vm-1)').action(run('agent', async () => (await load()).showAgent));
  agent.command('list').description('who was admitted to this cluster: by what method, as whom, for which services').action(run('control-plane', async () => (await load()).listAgents));
  agent.command('readmit <agent>').description('let an agent that was removed, or an instance that joined before, attest again').action(run('control-plane', async () => (await load()).readmitAgent));
  agent.command('remove <agent>').description('take an agent’s right to renew its identity').action(run('control-plane', async () => (await load()).removeAgent));
  const banning = () => import('../commands/ban.ts');
  agent
    .command('ban <agent>')
    .description('refuse every SVID this agent or gateway holds, in all clusters, and close its connections')
    .option('--reason <text>', 'why, for the log')
    .addOption(banRole())
    .action(run('control-plane', async () => (await banning()).banAgent));
  agent.command('unban <agent>').description('take the ban of an agent or gateway back; it joins by a new token').addOption(banRole()).action(run('control-plane', async () => (await banning()).unbanAgent));
  for (const verb of ['drain', 'undrain'] as const) {
    waitable(agent.command(`${verb} <agent> [namespace/service] [instance]`))
      .description(verb === 'drain' ? 'take an agent, or one workload beside it, out of service without stopping it' : 'bring it back')
      .action(run('agent', async () => (await load())[verb]));
  }
  addGateway(program);
}

function addGateway(program: Command): void {
  const load = () => import('../commands/agent.ts');
  const gateway = program.command('gateway').description('gateways of the cluster');
  gateway.command('list').description('gateways, with what configuration each acknowledged and which drain').action(run('control-plane', async () => (await import('../commands/drain.ts')).listGateways));
  gateway.command('status <gateway>').description('how a gateway is: over a context what its cluster knows of it, else its own account').action(run('gateway', async () => (await load()).showGateway));
  waitable(gateway.command('drain <gateway>')).description('tell callers and peers of the other gateways only; what is open here ends by itself').action(run('gateway', async () => (await load()).drainGateway));
  waitable(gateway.command('undrain <gateway>')).description('tell callers and peers of it again').action(run('gateway', async () => (await load()).undrainGateway));
}

/** Over a context a drain is declared, and the process follows. */
function waitable(command: Command): Command {
  return command
    .option('--reason <text>', 'why, for whoever looks')
    .option('--wait', 'until it is done, which the process itself says')
    .option('--wait-limit <duration>', 'how long to wait at most', '10m');
}

function banRole(): Option {
  return new Option('--role <role>', 'what it is').choices(['agent', 'gateway']).default('agent');
}

function addHost(agent: Command): void {
  const load = () => import('../commands/host.ts');
  const folders = (command: Command): Command =>
    command
      .option('--config-dir <dir>', 'where its configuration lies', '/etc/isthmus')
      .option('--state-dir <dir>', 'where its keys and state lie', '/var/lib/isthmus/agent');
  folders(agent.command('join'))
    .description('let this host into a federation: write the agent’s configuration and start it')
    .requiredOption('--server <host:port>', 'the cluster’s gateway, or its control plane from inside')
    .option('--token-file <file>', 'file with the join token, - for standard input')
    .option('--token <token>', 'the join token itself; others may see it in the list of processes')
    .option('--network <name>', 'network in which others reach this host directly (default: the agent’s name)')
    .option('--locality <region/zone>', 'where this host is')
    .option('--address <host>', 'this host’s address for others (default: the one towards the server)')
    .option('--call-as <namespace/name>', 'service whose identity calls from here carry')
    .option('--dns-port <port>', 'port on 127.0.0.1 where names are answered', '5353')
    .option('--resolver', 'send the zone clusterset.local there (a drop-in of systemd-resolved)')
    .option('--capture', 'transparent capture: mesh names work on every port, and with any resolver; needs nftables and root')
    .option('--no-start', 'write the files only')
    .option('--force', 'replace a configuration that is there')
    .action(run('proxy', async () => (await load()).joinHost));
  agent
    .command('install-script')
    .description('print a script that lets a host in: it fetches the packages, checks them, installs them and joins')
    .requiredOption('--server <host:port>', 'the cluster’s gateway, or its control plane from inside')
    .requiredOption('--packages <dir>', 'directory of a release, for its SHA256SUMS')
    .option('--url <url>', 'where hosts fetch the packages; without it the script is given a directory with them')
    .option('--token-file <file>', 'file with the join token, - for standard input')
    .option('--token <token>', 'the join token itself; others may see it in the list of processes')
    .option('--network <name>', 'as of `agent join`')
    .option('--locality <region/zone>', 'as of `agent join`')
    .option('--address <host>', 'as of `agent join`')
    .option('--call-as <namespace/name>', 'as of `agent join`')
    .option('--dns-port <port>', 'as of `agent join`')
    .option('--resolver', 'as of `agent join`')
    .option('--capture', 'as of `agent join`')
    .option('--no-start', 'as of `agent join`')
    .action(run('process', async () => (await import('../commands/install-script.ts')).printInstallScript));
  addCapture(agent);
  folders(agent.command('leave'))
    .description('take this host out again: stop its agent and remove its configuration')
    .option('--purge', 'remove its keys and state too')
    .action(run('proxy', async () => (await load()).leaveHost));
}

function addCapture(agent: Command): void {
  const load = () => import('../commands/capture.ts');
  const capture = agent.command('capture').description('transparent capture by nftables: connections to mesh addresses reach the agent on any port');
  const withConfig = (command: Command): Command => command.option('--config <file>', 'the agent’s configuration', '/etc/isthmus/agent.yaml');
  withConfig(capture.command('apply'))
    .description('put the rules of the configuration in force, as root; without capture there, remove them')
    .option('--dry-run', 'let the kernel check the rules, change nothing')
    .action(run('process', async () => (await load()).applyCapture));
  capture.command('remove').description('remove every rule, as root').action(run('process', async () => (await load()).removeCapture));
  withConfig(capture.command('show')).description('print the rules of the configuration').action(run('process', async () => (await load()).showCapture));
}
