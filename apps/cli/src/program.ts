// Every command of `isthmus`: names, arguments, options and help. What a command does is imported only when it runs, so that --help is fast.
import { Command, CommanderError, Option } from 'commander';
import type { CommandContext, Target } from './context.ts';

/** One command's work: positional arguments in order, then its own and the global options. */
export type Run = (context: CommandContext, args: readonly string[], options: Options) => Promise<void>;
export type Options = Readonly<Record<string, unknown>>;

const EXIT_USAGE = 64;

/** Runs one command line and answers its exit code: 0, 64 for usage, or that of the error's class (sysexits(3)). */
export async function runProgram(argv: readonly string[]): Promise<number> {
  const program = makeProgram();
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    const { reportError } = await import('./output/error.ts');
    return reportError(error, process.stderr, isJsonWanted(argv));
  }
}

/** Whether `-o json` stands there in any of its forms: an error may come before the line is understood. */
function isJsonWanted(argv: readonly string[]): boolean {
  return argv.some((word, i) => word === '-ojson' || word === '--output=json' || ((word === '-o' || word === '--output') && argv[i + 1] === 'json'));
}

/** The whole command tree. */
export function makeProgram(): Command {
  const program = new Command('isthmus')
    .description('Isthmus joins clusters and plain VMs into one federation: discovery, failover and mutual TLS.')
    .addOption(new Option('--socket <path>', 'admin socket of the process to talk to').env('ISTHMUS_SOCKET'))
    .option('--state <dir>', 'state directory of the demo, whose sockets are used without --socket', './.isthmus/demo')
    .addOption(new Option('--context <name>', 'context to use: the admin API of a federation logged in to').env('ISTHMUS_CONTEXT'))
    .option('--cluster <name>', 'cluster meant: of the context’s federation, or of the demo', 'east')
    .addOption(new Option('-o, --output <form>', 'how to print').choices(['table', 'json', 'yaml']).default('table'))
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .showHelpAfterError('(--help shows what is possible)')
    .exitOverride();
  addDemo(program);
  addCluster(program);
  addTrust(program);
  addContexts(program);
  addToken(program);
  addService(program);
  addExport(program);
  addTerraform(program);
  addRest(program);
  for (const command of everyCommand(program)) command.exitOverride();
  return program;
}

function addDemo(program: Command): void {
  program
    .command('up')
    .description('start a whole federation on this machine: two clusters and a VM, with requests flowing')
    .option('--ports <from-to>', 'ports the demo may use', '21000-21199')
    .addOption(new Option('--store <kind>', 'the store inside the control plane, or one etcd process per cluster').choices(['embedded', 'etcd']).default('embedded'))
    .option('--admin-api', 'start an admin API in each cluster too')
    .option('--fresh', 'forget the state of earlier runs first')
    .option('--check', 'walk through a tour without a terminal, then end; exit 0 only if all of it holds')
    .option('--tour <name>', 'the tour --check walks', 'main')
    .option('--report <file>', 'write what --check measured as JSON')
    .action(run('process', async () => (await import('./demo/up.ts')).up));
  const demo = program.command('demo').description('act on the running demo');
  for (const verb of ['stop', 'start'] as const) {
    demo
      .command(`${verb} <what>`)
      .description(`${verb} a process by name, or a cluster’s payments instances by the cluster’s name`)
      .action(run('process', async () => (await import('./commands/demo.ts'))[verb === 'stop' ? 'stopDemo' : 'startDemo']));
  }
  demo.command('list').description('processes of the running demo').action(run('process', async () => (await import('./commands/demo.ts')).listDemo));
}

function addCluster(program: Command): void {
  const load = () => import('./commands/cluster.ts');
  const cluster = program.command('cluster').description('clusters of the federation');
  cluster.command('list').description('member clusters, as the trust root knows them').action(run('trust-root', async () => (await load()).listClusters));
  cluster.command('peers').description('other clusters, as this cluster sees them').action(run('control-plane', async () => (await load()).listPeers));
  cluster.command('remove <name>').description('end a cluster’s membership').action(run('trust-root', async () => (await load()).removeCluster));
  cluster
    .command('fence <name>')
    .description('revoke all that a cluster ever signed, in every cluster and at once: for an intermediate or control plane that was taken over')
    .option('--reason <text>', 'why, for the log')
    .action(run('trust-root', async () => (await load()).fenceCluster));
  cluster.command('unfence <name>').description('let a fenced cluster join anew; what it signed before stays revoked').action(run('trust-root', async () => (await load()).unfenceCluster));
  const token = cluster.command('token').description('one-time bootstrap tokens of clusters');
  token
    .command('create <name>')
    .description('let a cluster of this name join the federation; the token is shown once')
    .option('--ttl <duration>', 'how long the token may be used', '1h')
    .option('--replace', 'let a cluster that lost its keys join again under its name')
    .action(run('trust-root', async () => (await load()).createClusterToken));
}

function addTrust(program: Command): void {
  const trust = program.command('trust').description('the federation’s root of trust');
  const load = () => import('./commands/trust-log.ts');
  trust
    .command('log')
    .description('what the trust root did: certificates, bundles, members, tokens; newest last')
    .option('--file <log>', 'read a log file instead, such as a control plane’s')
    .option('--last <number>', 'how many records', '100')
    .option('--kind <kind>', 'only records of this kind')
    .action(run('trust-root', async () => (await load()).showLog));
  trust
    .command('verify-log <file>')
    .description('check a transparency log offline: every line, its chain and its signatures')
    .option('--checkpoint <hash>', 'hash of a record that must be in it, noted down earlier')
    .option('--root <pem...>', 'root certificate its last checkpoint must be signed under')
    .action(run('trust-root', async () => (await load()).verifyLogFile));
  const archive = () => import('./commands/trust-backup.ts');
  trust
    .command('backup <file>')
    .description('write state, keys and log of one moment to an encrypted file; the trust root may run')
    .option('--state-dir <dir>', 'state directory of the trust root (default: the demo’s)')
    .requiredOption('--passphrase-file <file>', 'file of mode 0600 with the passphrase to encrypt with')
    .action(run('trust-root', async () => (await archive()).backup));
  trust
    .command('restore <file>')
    .description('put a backup into a directory that holds no trust root')
    .requiredOption('--state-dir <dir>', 'the directory')
    .requiredOption('--passphrase-file <file>', 'file of mode 0600 with the passphrase of the backup')
    .option('--checkpoint <hash>', 'newest hash of the log noted elsewhere: a backup without it is refused')
    .option('--accept-older', 'restore a backup without that record all the same')
    .action(run('trust-root', async () => (await archive()).restore));
  const rotation = () => import('./commands/trust-rotation.ts');
  trust
    .command('rotate')
    .description('replace the federation’s root step by step, or follow the rotation under way; nothing is cut off')
    .option('--pause', 'stop before the next step')
    .option('--resume', 'go on with a rotation that was paused or holds')
    .option('--rollback', 'go back to the old root; possible until it is retired')
    .option('--without <name...>', 'do not wait for this process, such as east/agent/vm-1; it may be cut off', [])
    .addOption(new Option('--hold-before <step>', 'stop before this step until --resume').choices(['distribute', 'prove', 'switch', 'reissue', 'prove-unused', 'retire']))
    .option('--compromised', 'the root’s key is in other hands: revoke it within seconds, cutting off who cannot follow')
    .option('--yes', 'do not ask')
    .option('--no-follow', 'do not wait for the end')
    .action(run('trust-root', async () => (await rotation()).rotateTrust));
  trust.command('status').description('the roots, how far a rotation is, and who is waited for').action(run('trust-root', async () => (await rotation()).showTrust));
  trust.command('checkpoint').description('sign the log’s head now; note the hash elsewhere').action(run('trust-root', async () => (await load()).checkpointLog));
  addForeign(trust);
}

function addForeign(trust: Command): void {
  const load = () => import('./commands/trust-domain.ts');
  trust.command('list').description('foreign trust domains of this cluster, and how old each bundle is').action(run('control-plane', async () => (await load()).listTrustDomains));
  trust
    .command('federate <trust-domain>')
    .description('take the bundle of a foreign trust domain, so that exports can name its callers')
    .option('--url <https>', 'its bundle endpoint; without one, bundles come by `trust bundle import`')
    .addOption(new Option('--profile <profile>', 'how the endpoint proves itself').choices(['https_spiffe', 'https_web', 'file']))
    .option('--spiffe-id <id>', 'https_spiffe: whom the endpoint must prove to be')
    .option('--ca <pem>', 'https_web: file with the CAs that may vouch for it (default: the system’s)')
    .option('--bundle <file>', 'its first bundle, a SPIFFE bundle document')
    .option('--sha256 <hex>', 'the document’s fingerprint, told by another way; asked for without it')
    .action(run('control-plane', async () => (await load()).federate));
  trust.command('drop <trust-domain>').description('take a foreign trust domain’s bundle away; its callers are let in no longer').action(run('control-plane', async () => (await load()).drop));
  const bundle = trust.command('bundle').description('bundles: this cluster’s own, and foreign ones by file');
  bundle.command('show [trust-domain]').description('what a bundle in force trusts (default: this cluster’s own)').action(run('control-plane', async () => (await load()).showBundle));
  bundle
    .command('export [trust-domain]')
    .description('write a bundle in force as a SPIFFE bundle document (default: this cluster’s own)')
    .option('--out <file>', 'where to (default: standard output)')
    .action(run('control-plane', async () => (await load()).exportBundle));
  bundle
    .command('import <trust-domain> <file>')
    .description('take a bundle document of a foreign trust domain; an older one is refused')
    .option('--sha256 <hex>', 'the document’s fingerprint, told by another way; asked for without it')
    .action(run('control-plane', async () => (await load()).importBundle));
}

function addContexts(program: Command): void {
  const load = () => import('./commands/login.ts');
  program
    .command('login')
    .description('use a cluster’s admin API from now on: as an operator of the federation, or by bearer tokens of an issuer (OpenID Connect)')
    .option('--token-file <file>', 'file with an operator’s one-time join token or with a bearer token (read anew for each command), - for standard input')
    .option('--token <token>', 'the same, or the token itself; others may see it in the list of processes')
    .requiredOption('--server <host:port>', 'the cluster’s gateway, or its control plane')
    .option('--api <host:port>', 'the admin API, where it is not behind the same gateway')
    .option('--federation <name>', 'bearer: the federation, beside --cluster')
    .option('--root <pem>', 'bearer: file with the federation’s root certificate')
    .option('--root-sha256 <hex>', 'bearer: the root’s SHA-256 instead, told by another way')
    .option('--issuer <url>', 'get bearer tokens from this issuer: by the client’s secret, or without one by saying yes in a browser')
    .option('--client-id <id>', 'of this client')
    .option('--client-secret-file <file>', 'with the secret in this file, read for each token')
    .option('--issuer-ca <pem>', 'file with the CA of the issuer’s server (default: the public ones)')
    .option('--scope <scope>', 'scope to ask the issuer for')
    .option('--audience <audience>', 'audience to ask the issuer for')
    .action(run('process', async () => (await load()).login));
  program.command('whoami').description('who the admin API takes you for, and what you may do').action(run('process', async () => (await load()).whoAmI));
  const context = program.command('context').description('federations you are logged in to');
  context.command('list').description('contexts, and which is in use').action(run('process', async () => (await load()).listContexts));
  context.command('use <name>').description('use this context from now on').action(run('process', async () => (await load()).chooseContext));
  context.command('remove <name>').description('forget a context and its identity').action(run('process', async () => (await load()).forgetContext));
  context
    .command('export [name]')
    .description('write a context’s identity as PEM files, for curl, Terraform and the like; renewed first where it is past its half')
    .requiredOption('--out <dir>', 'where to: svid.pem, key.pem and ca.pem')
    .action(run('process', async () => (await load()).exportContext));
  program.command('completion <shell>').description('a script that completes commands: bash, zsh or fish').action(run('process', async () => {
    const { printCompletion } = await import('./commands/completion.ts');
    return (given, args) => printCompletion(given, args, program);
  }));
}

function addToken(program: Command): void {
  const load = () => import('./commands/token.ts');
  const token = program.command('token').description('one-time join tokens of agents and gateways');
  token
    .command('create <agent>')
    .description('let an agent, gateway or operator of this name join the cluster; the token is shown once')
    .option('--service <namespace/name...>', 'services it may hold identities of', [])
    .addOption(new Option('--role <role>', 'what may join').choices(['agent', 'gateway', 'operator']).default('agent'))
    .option('--ttl <duration>', 'how long the token may be used', '1h')
    .action(run('control-plane', async () => (await load()).createToken));
  token.command('list').description('tokens of this cluster, without their secrets').action(run('control-plane', async () => (await load()).listTokens));
  token.command('delete <id>').description('make a token useless').action(run('control-plane', async () => (await load()).deleteToken));
}

function addService(program: Command): void {
  const load = () => import('./commands/service.ts');
  const service = program.command('service').description('services of this cluster');
  service
    .command('apply <namespace/name>')
    .description('create or replace a service')
    .requiredOption('--port <name=port/protocol...>', 'a port, such as http=80/http, api=9000/grpc or db=5432/tcp')
    .option('--label <key=value...>', 'a label', [])
    .action(run('control-plane', async () => (await load()).applyService));
  service.command('list').description('services declared here').action(run('control-plane', async () => (await load()).listServices));
  service.command('delete <namespace/name>').description('remove a service').action(run('control-plane', async () => (await load()).deleteService));
  const banning = () => import('./commands/ban.ts');
  service
    .command('ban <namespace/name>')
    .description('refuse every SVID of a service issued so far, in all clusters, and issue none until it is unbanned')
    .option('--reason <text>', 'why, for the log')
    .action(run('control-plane', async () => (await banning()).banService));
  service.command('unban <namespace/name>').description('take the ban of a service back').action(run('control-plane', async () => (await banning()).unbanService));
  program.command('ban').description('banned agents and services').command('list').description('bans of this cluster').action(run('control-plane', async () => (await banning()).listBans));
  service.command('endpoints <name>').description('where a service answers: instances here, and other clusters').action(run('control-plane', async () => (await load()).listEndpoints));
}

function addExport(program: Command): void {
  const load = () => import('./commands/export.ts');
  const exports = program.command('export').description('what this cluster offers to others');
  exports
    .command('apply <namespace/name>')
    .description('offer a service to other clusters')
    .option('--consumers <clusters>', '`all`, or names of clusters with commas between', 'all')
    .option('--foreign <caller...>', 'callers of foreign trust domains that may reach it here: a trust domain, or SPIFFE IDs')
    .option('--layer7', 'gateways end TLS and balance each request, instead of each connection')
    .action(run('control-plane', async () => (await load()).applyExport));
  exports.command('list').description('exports of this cluster').action(run('control-plane', async () => (await load()).listExports));
  exports.command('imports').description('what other clusters offer to this one').action(run('control-plane', async () => (await load()).listImports));
  exports.command('delete <namespace/name>').description('offer a service no longer').action(run('control-plane', async () => (await load()).deleteExport));
}

function addTerraform(program: Command): void {
  program
    .command('terraform')
    .description('the Terraform provider')
    .command('mirror <directory>')
    .description('lay the provider out where `terraform init` can install it from, without a registry')
    .option('--cli-config <file>', 'write the Terraform CLI configuration that uses it to this file')
    .option('--link', 'link to this executable instead of copying it')
    .action(run('process', async () => (await import('./commands/terraform.ts')).mirrorProvider));
}

function addRest(program: Command): void {
  program
    .command('apply')
    .description('create or replace the services, exports, foreign trust domains and drains of YAML or JSON documents; all of them, or none if one is wrong')
    .requiredOption('-f, --file <file>', 'the file, or - for standard input')
    .option('--dry-run', 'check everything, change nothing')
    .action(run('control-plane', async () => (await import('./commands/apply.ts')).applyFile));
  program
    .command('get <kind> [name]')
    .description('things of a kind: services, exports, workloads, imports, peers, agents, gateways, drains, proxies, clusters, certificates, bundles, foreign-trust-domains, bans, tokens, entries')
    .option('-n, --namespace <namespace>', 'of this namespace only')
    .action(run('control-plane', async () => (await import('./commands/resource.ts')).getResources));
  program
    .command('diff')
    .description('what `apply` would change; exit 1 where that is something')
    .requiredOption('-f, --file <file>', 'the file, or - for standard input')
    .action(run('control-plane', async () => (await import('./commands/resource.ts')).diffFile));
  program
    .command('delete')
    .description('delete what a file declares')
    .requiredOption('-f, --file <file>', 'the file, or - for standard input')
    .action(run('control-plane', async () => (await import('./commands/resource.ts')).deleteFile));
  program
    .command('logs [program]')
    .description('newest log lines of a program of this machine: trust-root, control-plane (default), gateway, agent, admin-api, or a process of the demo')
    .option('-n, --last <number>', 'how many of the lines there are', '100')
    .addOption(new Option('--level <level>', 'this and what is graver').choices(['error', 'warn', 'info', 'debug']).default('debug'))
    .option('-f, --follow', 'go on with the lines that come')
    .action(run('process', async () => (await import('./commands/logs.ts')).showLogs));
  program.command('version').description('this program’s version, and with a context those of the federation’s parts').action(run('control-plane', async () => (await import('./commands/version.ts')).showVersion));
  const certificate = program.command('certificate').description('X.509 SVIDs');
  certificate.command('list').description('certificates in use here and when they end').action(run('control-plane', async () => (await import('./commands/certificate.ts')).listCertificates));
  certificate
    .command('show [agent]')
    .description('SVIDs an agent or gateway holds (default: vm-1)')
    .option('--file <pem>', 'read a PEM file instead')
    .action(run('control-plane', async () => (await import('./commands/certificate.ts')).showCertificate));
  program.command('status').description('the federation on one screen, what needs a look first; one cluster with --cluster, or over its own socket').action(run('control-plane', async () => (await import('./commands/status.ts')).showStatus));
  const load = () => import('./commands/agent.ts');
  const agent = program.command('agent').description('agents: through the admin API of the context in use, or their own socket');
  addHost(agent);
  agent.command('status [agent]').description('how an agent is: over a context what its cluster knows of it, else its own account (default: vm-1)').action(run('agent', async () => (await load()).showAgent));
  agent.command('list').description('who was admitted to this cluster: by what method, as whom, for which services').action(run('control-plane', async () => (await load()).listAgents));
  agent.command('readmit <agent>').description('let an agent that was removed, or an instance that joined before, attest again').action(run('control-plane', async () => (await load()).readmitAgent));
  agent.command('remove <agent>').description('take an agent’s right to renew its identity').action(run('control-plane', async () => (await load()).removeAgent));
  const banning = () => import('./commands/ban.ts');
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
  const load = () => import('./commands/agent.ts');
  const gateway = program.command('gateway').description('gateways of the cluster');
  gateway.command('list').description('gateways, with what configuration each acknowledged and which drain').action(run('control-plane', async () => (await import('./commands/drain.ts')).listGateways));
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
  const load = () => import('./commands/host.ts');
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
    .action(run('process', async () => (await import('./commands/install-script.ts')).printInstallScript));
  addCapture(agent);
  folders(agent.command('leave'))
    .description('take this host out again: stop its agent and remove its configuration')
    .option('--purge', 'remove its keys and state too')
    .action(run('proxy', async () => (await load()).leaveHost));
}

function addCapture(agent: Command): void {
  const load = () => import('./commands/capture.ts');
  const capture = agent.command('capture').description('transparent capture by nftables: connections to mesh addresses reach the agent on any port');
  const withConfig = (command: Command): Command => command.option('--config <file>', 'the agent’s configuration', '/etc/isthmus/agent.yaml');
  withConfig(capture.command('apply'))
    .description('put the rules of the configuration in force, as root; without capture there, remove them')
    .option('--dry-run', 'let the kernel check the rules, change nothing')
    .action(run('process', async () => (await load()).applyCapture));
  capture.command('remove').description('remove every rule, as root').action(run('process', async () => (await load()).removeCapture));
  withConfig(capture.command('show')).description('print the rules of the configuration').action(run('process', async () => (await load()).showCapture));
}

/** A commander action that builds the context, then loads the command and runs it. */
function run(target: Target | 'process', load: () => Promise<Run>) {
  return async (...raw: readonly unknown[]): Promise<void> => {
    const command = raw.at(-1) as Command;
    const options = command.optsWithGlobals() as Options;
    const [{ makeContext }, work] = await Promise.all([import('./context.ts'), load()]);
    const isGiven = (name: string): boolean => ['cli', 'env'].includes(command.getOptionValueSourceWithGlobals(name) ?? '');
    // A socket or a demo that is named goes before the context in use, and a context that is named before both.
    const mayUseContext = (target === 'control-plane' || target === 'trust-root' || target === 'agent' || target === 'gateway') && (isGiven('context') || !(isGiven('socket') || isGiven('state')));
    const api = mayUseContext ? await (await import('./contexts.ts')).findContext(options['context'] as string | undefined) : undefined;
    // Where no cluster is named, a command can tell: what is meant is the context's, or all of them.
    const named = isGiven('cluster') ? options : { ...options, cluster: undefined };
    await work(makeContext(target === 'process' ? 'control-plane' : target, options, api, isGiven('cluster')), command.args, named);
  };
}

function* everyCommand(command: Command): Generator<Command> {
  for (const child of command.commands) {
    yield child;
    yield* everyCommand(child);
  }
}
