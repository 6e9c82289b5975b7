metadata description = 'Who may do what, and why. One line a grant; the roles are granted at these scopes and at no other.'

@export()
@description('Grants on Service Bus queues.')
var queueGrants = [
  { app: 'api', queue: 'lane-high', role: 'Azure Service Bus Data Sender', why: 'The API puts urgent commands here.' }
  { app: 'api', queue: 'lane-normal', role: 'Azure Service Bus Data Sender', why: 'The API puts ordinary commands here.' }
  { app: 'api', queue: 'lane-low', role: 'Azure Service Bus Data Sender', why: 'The API puts commands that may wait here.' }
  { app: 'api', queue: 'lane-ordered', role: 'Azure Service Bus Data Sender', why: 'The API puts commands here whose order counts.' }
  // Data Owner and not Receiver: with Listen alone the scale controller can not read the queue's length and adds one
  // instance at a time; with Manage on this one queue it jumps to backlog / batch size.
  { app: 'high', queue: 'lane-high', role: 'Azure Service Bus Data Owner', why: 'Takes messages, sends delayed copies for a retry, and lets target-based scaling read the length of this queue.' }
  { app: 'high', queue: 'lane-normal', role: 'Azure Service Bus Data Sender', why: 'A handler may send a command to another lane.' }
  { app: 'high', queue: 'lane-low', role: 'Azure Service Bus Data Sender', why: 'A handler may send a command to another lane.' }
  { app: 'high', queue: 'lane-ordered', role: 'Azure Service Bus Data Sender', why: 'A handler may send a command to another lane.' }
  { app: 'bulk', queue: 'lane-normal', role: 'Azure Service Bus Data Owner', why: 'Takes messages, sends delayed copies for a retry, and lets target-based scaling read the length of this queue.' }
  { app: 'bulk', queue: 'lane-low', role: 'Azure Service Bus Data Owner', why: 'Takes messages, sends delayed copies for a retry, and lets target-based scaling read the length of this queue.' }
  { app: 'bulk', queue: 'lane-high', role: 'Azure Service Bus Data Sender', why: 'A handler may send a command to another lane.' }
  { app: 'bulk', queue: 'lane-ordered', role: 'Azure Service Bus Data Sender', why: 'A handler may send a command to another lane.' }
  { app: 'ordered', queue: 'lane-ordered', role: 'Azure Service Bus Data Owner', why: 'Takes sessions, sends delayed copies for a retry, and lets target-based scaling read the length of this queue.' }
  { app: 'ordered', queue: 'lane-high', role: 'Azure Service Bus Data Sender', why: 'A handler may send a command to another lane.' }
  { app: 'ordered', queue: 'lane-normal', role: 'Azure Service Bus Data Sender', why: 'A handler may send a command to another lane.' }
  { app: 'ordered', queue: 'lane-low', role: 'Azure Service Bus Data Sender', why: 'A handler may send a command to another lane.' }
  { app: 'streams', queue: 'lane-high', role: 'Azure Service Bus Data Sender', why: 'The sweep of the outbox sends commands that a crash left behind.' }
  { app: 'streams', queue: 'lane-normal', role: 'Azure Service Bus Data Sender', why: 'The sweep of the outbox sends commands that a crash left behind.' }
  { app: 'streams', queue: 'lane-low', role: 'Azure Service Bus Data Sender', why: 'The sweep of the outbox sends commands that a crash left behind.' }
  { app: 'streams', queue: 'lane-ordered', role: 'Azure Service Bus Data Sender', why: 'The sweep of the outbox sends commands that a crash left behind.' }
  { app: 'streams', queue: 'secret-events', role: 'Azure Service Bus Data Receiver', why: 'Takes what the vault tells of its secrets.' }
]

@export()
@description('Grants on event hubs.')
var hubGrants = [
  { app: 'high', hub: 'events', role: 'Azure Event Hubs Data Sender', why: 'Publishes the facts of its messages.' }
  { app: 'bulk', hub: 'events', role: 'Azure Event Hubs Data Sender', why: 'Publishes the facts of its messages.' }
  { app: 'ordered', hub: 'events', role: 'Azure Event Hubs Data Sender', why: 'Publishes the facts of its messages.' }
  { app: 'streams', hub: 'events', role: 'Azure Event Hubs Data Sender', why: 'The sweep of the outbox publishes what a crash left behind.' }
  { app: 'streams', hub: 'events', role: 'Azure Event Hubs Data Receiver', why: 'Reads the facts for the read models.' }
]

@export()
@description('Grants on blob containers.')
var containerGrants = [
  { app: 'api', account: 'claims', container: 'claims', role: 'Storage Blob Data Contributor', why: 'Keeps large payloads before it answers 202.' }
  { app: 'high', account: 'claims', container: 'claims', role: 'Storage Blob Data Contributor', why: 'Reads large payloads, and keeps those of the commands that its handlers send.' }
  { app: 'bulk', account: 'claims', container: 'claims', role: 'Storage Blob Data Contributor', why: 'Reads large payloads, and keeps those of the commands that its handlers send.' }
  { app: 'ordered', account: 'claims', container: 'claims', role: 'Storage Blob Data Contributor', why: 'Reads large payloads, and keeps those of the commands that its handlers send.' }
  { app: 'streams', account: 'claims', container: 'claims', role: 'Storage Blob Data Contributor', why: 'Sweeps payloads whose messages are long gone.' }
  { app: 'high', account: 'claims', container: 'state-values', role: 'Storage Blob Data Contributor', why: 'Keeps state that is too large for a row.' }
  { app: 'bulk', account: 'claims', container: 'state-values', role: 'Storage Blob Data Contributor', why: 'Keeps state that is too large for a row.' }
  { app: 'ordered', account: 'claims', container: 'state-values', role: 'Storage Blob Data Contributor', why: 'Keeps state that is too large for a row.' }
  { app: 'streams', account: 'claims', container: 'state-values', role: 'Storage Blob Data Contributor', why: 'Sweeps values that no row refers to.' }
  { app: 'high', account: 'claims', container: 'dead-letters', role: 'Storage Blob Data Contributor', why: 'Keeps the bodies of what could not be processed.' }
  { app: 'bulk', account: 'claims', container: 'dead-letters', role: 'Storage Blob Data Contributor', why: 'Keeps the bodies of what could not be processed.' }
  { app: 'ordered', account: 'claims', container: 'dead-letters', role: 'Storage Blob Data Contributor', why: 'Keeps the bodies of what could not be processed.' }
  { app: 'streams', account: 'claims', container: 'dead-letters', role: 'Storage Blob Data Contributor', why: 'Keeps the bodies of events that could not be projected, and sweeps old ones.' }
  { app: 'api', account: 'deploy', container: 'app-api', role: 'Storage Blob Data Contributor', why: 'The platform keeps and reads the package of this app as the app itself.' }
  { app: 'high', account: 'deploy', container: 'app-high', role: 'Storage Blob Data Contributor', why: 'The platform keeps and reads the package of this app as the app itself.' }
  { app: 'bulk', account: 'deploy', container: 'app-bulk', role: 'Storage Blob Data Contributor', why: 'The platform keeps and reads the package of this app as the app itself.' }
  { app: 'ordered', account: 'deploy', container: 'app-ordered', role: 'Storage Blob Data Contributor', why: 'The platform keeps and reads the package of this app as the app itself.' }
  { app: 'streams', account: 'deploy', container: 'app-streams', role: 'Storage Blob Data Contributor', why: 'The platform keeps and reads the package of this app as the app itself.' }
]

@export()
@description('Grants on the package containers of the second colour, where there is one.')
var greenGrants = [
  { app: 'api', account: 'deploy', container: 'app-api-green', role: 'Storage Blob Data Contributor', why: 'The platform keeps and reads the package of the second colour of this app as the app itself.' }
  { app: 'high', account: 'deploy', container: 'app-high-green', role: 'Storage Blob Data Contributor', why: 'The platform keeps and reads the package of the second colour of this app as the app itself.' }
  { app: 'bulk', account: 'deploy', container: 'app-bulk-green', role: 'Storage Blob Data Contributor', why: 'The platform keeps and reads the package of the second colour of this app as the app itself.' }
  { app: 'ordered', account: 'deploy', container: 'app-ordered-green', role: 'Storage Blob Data Contributor', why: 'The platform keeps and reads the package of the second colour of this app as the app itself.' }
  { app: 'streams', account: 'deploy', container: 'app-streams-green', role: 'Storage Blob Data Contributor', why: 'The platform keeps and reads the package of the second colour of this app as the app itself.' }
]

@export()
@description('Grants on whole storage accounts: only on the one that holds nothing but the hosts\' own records.')
var accountGrants = [
  { app: 'api', account: 'host', role: 'Storage Blob Data Owner', why: 'The Functions host keeps its locks and keys here, in containers that it makes itself.' }
  { app: 'high', account: 'host', role: 'Storage Blob Data Owner', why: 'The Functions host keeps its locks and keys here, in containers that it makes itself.' }
  { app: 'bulk', account: 'host', role: 'Storage Blob Data Owner', why: 'The Functions host keeps its locks and keys here, in containers that it makes itself.' }
  { app: 'ordered', account: 'host', role: 'Storage Blob Data Owner', why: 'The Functions host keeps its locks, keys and timers here, in containers that it makes itself.' }
  { app: 'streams', account: 'host', role: 'Storage Blob Data Owner', why: 'The Functions host keeps its locks, keys, timers and checkpoints here, in containers that it makes itself.' }
]

@export()
@description('Grants on the tables of every state account.')
var stateGrants = [
  { app: 'api', table: 'state', role: 'Storage Table Data Reader', why: 'Tells what became of a message: one read of its inbox record.' }
  { app: 'high', table: 'state', role: 'Storage Table Data Contributor', why: 'Commits inbox record, state and outbox rows in one transaction.' }
  { app: 'bulk', table: 'state', role: 'Storage Table Data Contributor', why: 'Commits inbox record, state and outbox rows in one transaction.' }
  { app: 'ordered', table: 'state', role: 'Storage Table Data Contributor', why: 'Commits inbox record, state and outbox rows in one transaction, and parks keys.' }
  { app: 'streams', table: 'state', role: 'Storage Table Data Contributor', why: 'Sweeps outbox and inbox.' }
]

@export()
@description('Grants on the tables that only the first state account has.')
var firstStateGrants = [
  { app: 'api', table: 'readmodels', role: 'Storage Table Data Reader', why: 'Answers from the read models.' }
  { app: 'streams', table: 'readmodels', role: 'Storage Table Data Contributor', why: 'Keeps the read models.' }
  { app: 'high', table: 'deadletters', role: 'Storage Table Data Contributor', why: 'Records what could not be processed.' }
  { app: 'bulk', table: 'deadletters', role: 'Storage Table Data Contributor', why: 'Records what could not be processed.' }
  { app: 'ordered', table: 'deadletters', role: 'Storage Table Data Contributor', why: 'Records what could not be processed.' }
  { app: 'streams', table: 'deadletters', role: 'Storage Table Data Contributor', why: 'Records events that could not be projected, and sweeps old records.' }
  { app: 'api', table: 'subjectkeys', role: 'Storage Table Data Reader', why: 'Opens protected fields for callers who may see them.' }
  { app: 'high', table: 'subjectkeys', role: 'Storage Table Data Contributor', why: 'Finds, and makes, the keys that protected fields of a person are sealed under.' }
  { app: 'bulk', table: 'subjectkeys', role: 'Storage Table Data Contributor', why: 'Finds, and makes, the keys that protected fields of a person are sealed under.' }
  { app: 'ordered', table: 'subjectkeys', role: 'Storage Table Data Contributor', why: 'Finds, and makes, the keys that protected fields of a person are sealed under.' }
  { app: 'streams', table: 'subjectkeys', role: 'Storage Table Data Contributor', why: 'Finds, and makes, the keys that protected fields of a person are sealed under.' }
  { app: 'streams', table: 'audit', role: 'Storage Table Data Contributor', why: 'Records which secret was given its next version, when and why.' }
  { app: 'api', table: 'datakeys', role: 'Storage Table Data Contributor', why: 'Finds, and makes, the keys that messages and claims are sealed under.' }
  { app: 'high', table: 'datakeys', role: 'Storage Table Data Contributor', why: 'Finds, and makes, the keys that messages, claims and dead letters are sealed under.' }
  { app: 'bulk', table: 'datakeys', role: 'Storage Table Data Contributor', why: 'Finds, and makes, the keys that messages, claims and dead letters are sealed under.' }
  { app: 'ordered', table: 'datakeys', role: 'Storage Table Data Contributor', why: 'Finds, and makes, the keys that messages, claims and dead letters are sealed under.' }
  { app: 'streams', table: 'datakeys', role: 'Storage Table Data Contributor', why: 'Finds, and makes, the keys that messages and dead letters are sealed under.' }
]

@export()
@description('Grants on the vault.')
var vaultGrants = [
  { app: 'api', role: 'Key Vault Secrets User', why: 'Reads the key that signs operation ids.' }
  { app: 'high', role: 'Key Vault Secrets User', why: 'Reads the secrets that its settings name and its handlers ask for.' }
  { app: 'bulk', role: 'Key Vault Secrets User', why: 'Reads the secrets that its settings name and its handlers ask for.' }
  { app: 'ordered', role: 'Key Vault Secrets User', why: 'Reads the secrets that its settings name and its handlers ask for.' }
  { app: 'streams', role: 'Key Vault Secrets Officer', why: 'Reads the secrets that its settings name, and gives those that are about to expire their next version.' }
]

@export()
@description('Grants on single keys of the vault.')
var keyGrants = [
  { app: 'api', key: 'data-key-wrap', role: 'Key Vault Crypto Service Encryption User', why: 'Wraps and unwraps data keys; the key itself never leaves the vault.' }
  { app: 'high', key: 'data-key-wrap', role: 'Key Vault Crypto Service Encryption User', why: 'Wraps and unwraps data keys; the key itself never leaves the vault.' }
  { app: 'bulk', key: 'data-key-wrap', role: 'Key Vault Crypto Service Encryption User', why: 'Wraps and unwraps data keys; the key itself never leaves the vault.' }
  { app: 'ordered', key: 'data-key-wrap', role: 'Key Vault Crypto Service Encryption User', why: 'Wraps and unwraps data keys; the key itself never leaves the vault.' }
  { app: 'streams', key: 'data-key-wrap', role: 'Key Vault Crypto Service Encryption User', why: 'Wraps and unwraps data keys; the key itself never leaves the vault.' }
]

@export()
@description('Grants on Application Insights.')
var telemetryGrants = [
  { app: 'api', role: 'Monitoring Metrics Publisher', why: 'Sends telemetry; without a role the component takes none.' }
  { app: 'high', role: 'Monitoring Metrics Publisher', why: 'Sends telemetry; without a role the component takes none.' }
  { app: 'bulk', role: 'Monitoring Metrics Publisher', why: 'Sends telemetry; without a role the component takes none.' }
  { app: 'ordered', role: 'Monitoring Metrics Publisher', why: 'Sends telemetry; without a role the component takes none.' }
  { app: 'streams', role: 'Monitoring Metrics Publisher', why: 'Sends telemetry; without a role the component takes none.' }
]
