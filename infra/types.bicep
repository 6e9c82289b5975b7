metadata description = 'What the parameters look like, and which app runs which function.'

@export()
@description('How far an environment is from the users.')
type Stage = 'dev' | 'test' | 'staging' | 'prod'

@export()
@description('Clouds, spelled as the app\'s setting SLUICE_CLOUD does.')
type Cloud = 'public' | 'usgov' | 'china'

@export()
@description('Whose it is and what is in it, as tags of every resource. Empty ones are refused.')
type Ownership = {
  @description('What people call the application.')
  @minLength(1)
  application: string

  @description('Who answers for it.')
  @minLength(1)
  businessUnit: string

  @description('Who pays for it.')
  @minLength(1)
  costCenter: string

  @description('The most sensitive data in it.')
  dataClass: 'public' | 'internal' | 'confidential' | 'restricted'
}

@export()
@description('Front Door with a web application firewall, before the gateway.')
type Edge = {
  @description('Whether it is there.')
  enabled: bool

  @description('Prevention refuses what the rules find; Detection writes it down, for the first weeks.')
  mode: 'Detection' | 'Prevention'

  @description('Networks that are let in, as CIDR; empty: all.')
  allowedNetworks: string[]

  @description('Requests a minute of one client address.')
  @minValue(10)
  requestsPerMinute: int
}

@export()
@description('App settings, name to value.')
type AppSettings = {
  *: string
}

@export()
@description('Size of one app.')
type AppSize = {
  @description('Memory of an instance in MB; 512 has a quarter of a core, 2048 one, 4096 two.')
  memoryMb: 512 | 2048 | 4096

  @description('The most instances of each function of the app.')
  @minValue(1)
  @maxValue(1000)
  maximumInstances: int

  @description('Instances that are always there, by function group.')
  alwaysReady: AlwaysReady[]

  @description('Requests that an instance answers side by side; only the API has some.')
  @minValue(1)
  @maxValue(1000)
  httpConcurrency: int

  @description('Over availability zones. The platform then keeps two instances of every function group, asked for or not, and they are paid always.')
  zones: bool
}

@export()
@description('Instances of a function group (`http` or `function:<name>`) that are always there, and paid always.')
type AlwaysReady = {
  name: string
  instanceCount: int
}

@export()
@description('Redundancy of storage with data: in a zone, over zones, and also in the paired region.')
type StorageSku = 'Standard_LRS' | 'Standard_ZRS' | 'Standard_GRS' | 'Standard_RAGRS' | 'Standard_GZRS' | 'Standard_RAGZRS'

@export()
@description('Size of every app.')
type AppSizes = {
  api: AppSize
  high: AppSize
  bulk: AppSize
  ordered: AppSize
  streams: AppSize

  @description('The lake\'s app, where there is one.')
  lake: AppSize
}

@export()
@description('Tier and size of Service Bus.')
type ServiceBusSize = {
  sku: 'Standard' | 'Premium'

  @description('Messaging units of Premium; 1 for Standard.')
  capacity: 1 | 2 | 4 | 8 | 16

  @description('The most that one queue keeps, in MB: 1024 to 5120, on Premium up to 81920.')
  queueSizeMb: 1024 | 2048 | 3072 | 4096 | 5120 | 10240 | 20480 | 40960 | 81920
}

@export()
@description('Tier and size of Event Hubs.')
type EventHubsSize = {
  sku: 'Standard' | 'Premium'

  @description('Throughput or processing units to begin with.')
  @minValue(1)
  @maxValue(40)
  capacity: int

  @description('Standard grows by itself up to so many throughput units; 0: not at all.')
  @minValue(0)
  @maxValue(40)
  maximumCapacity: int

  @description('Partitions of each hub, at least those that are declared. Fixed at birth on Standard; each takes in 1 MB or 1,000 events a second.')
  @minValue(1)
  @maxValue(1024)
  partitions: int

  @description('How long events are kept, in hours: up to 168 on Standard, 2160 on Premium.')
  @minValue(1)
  @maxValue(2160)
  retentionHours: int

  @description('Keep the events as Avro files in the lake too.')
  capture: bool
}

@export()
@description('Retention that the app and the services have to agree on, in days.')
type Retention = {
  @description('How long a claim is kept; at least the queues\' time-to-live plus the dead letters\' retention.')
  @minValue(1)
  @maxValue(365)
  claimDays: int

  @description('How long a message is remembered as done; at least as long as a claim.')
  @minValue(1)
  @maxValue(365)
  inboxDays: int

  @description('How long a dead letter is kept.')
  @minValue(1)
  @maxValue(365)
  deadLetterDays: int

  @description('Time-to-live of the queues, as in the emulator\'s file.')
  @minValue(1)
  @maxValue(365)
  queueTtlDays: int

  @description('How long what was deleted can be brought back.')
  @minValue(7)
  @maxValue(365)
  softDeleteDays: int

  @description('How long logs are kept.')
  @minValue(30)
  @maxValue(730)
  logDays: int
}

@export()
@description('Address ranges of the private network, as CIDR blocks.')
type Addresses = {
  network: string

  @description('The apps, on their way out: /26 for several apps on Flex Consumption.')
  functions: string

  @description('Private endpoints: about twenty.')
  endpoints: string

  @description('API Management, on its way to the API.')
  gateway: string
}

@export()
@description('What a landing zone has already, by resource ids; an empty one is made here.')
type LandingZone = {
  @description('Log Analytics workspace that takes logs and metrics.')
  workspaceId: string

  @description('Subnet that the apps go out of: /26, delegated to Microsoft.App/environments.')
  functionsSubnetId: string

  @description('Subnet of the private endpoints.')
  endpointsSubnetId: string

  @description('Subnet that the gateway goes out of, delegated to Microsoft.Web/serverFarms.')
  gatewaySubnetId: string

  @description('Resource group with the private DNS zones, which the network asks already.')
  dnsZonesGroupId: string
}

@export()
@description('A key of the customer\'s own, in a vault with purge protection; empty: the platform\'s keys.')
type CustomerKey = {
  @description('Address of the key without a version, such as https://VAULT.vault.azure.net/keys/NAME: its newest version is used.')
  keyUri: string

  @description('Id of a user-assigned identity that has Key Vault Crypto Service Encryption User on the key already.')
  identityId: string
}

@export()
@description('API Management in front of the API.')
type Gateway = {
  @description('Whether there is one.')
  enabled: bool

  @description('Tier; StandardV2 and Premium reach a private API.')
  sku: 'Consumption' | 'BasicV2' | 'StandardV2' | 'Premium'

  @description('Units; 0 for Consumption.')
  @minValue(0)
  @maxValue(10)
  capacity: int

  @description('Where the service sends its notices.')
  publisherEmail: string

  @description('Shown in the developer portal.')
  publisherName: string

  @description('Calls a minute of each client.')
  @minValue(1)
  callsPerMinute: int

  @description('Calls a day of each client.')
  @minValue(1)
  callsPerDay: int

  @description('Client addresses that are let in, in ranges; empty: all.')
  allowedRanges: AddressRange[]
}

@export()
@description('A range of IPv4 addresses, both ends included.')
type AddressRange = {
  first: string
  last: string
}

@export()
@description('When somebody is called.')
type Thresholds = {
  @description('Age of the oldest message that waits on the high lane, in seconds.')
  @minValue(1)
  highAgeSeconds: int

  @description('Age of the oldest message that waits on another lane, in seconds.')
  @minValue(1)
  otherAgeSeconds: int

  @description('95th percentile of the time from acceptance to the end of the handler, in seconds.')
  @minValue(1)
  latencySeconds: int

  @description('Failed messages in five minutes; 30 are one in ten seconds.')
  @minValue(1)
  failuresPerFiveMinutes: int

  @description('Messages that wait on one queue.')
  @minValue(1)
  backlogMessages: int

  @description('Share of messages that have to succeed, in percent.')
  objectivePercent: string

  @description('Whether silence is a fault: no message for half an hour.')
  expectsTraffic: bool
}
