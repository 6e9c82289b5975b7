metadata description = 'What the platform itself needs of every app. What the app calls is granted as declarations.json says.'

var apps = loadJsonContent('declarations.json').apps

@export()
@description('Grants on the containers that packages are in.')
var packageGrants = [for app in apps: {
  app: app
  account: 'deploy'
  container: 'app-${app}'
  role: 'Storage Blob Data Contributor'
  why: 'The platform keeps and reads the package of this app as the app itself.'
}]

@export()
@description('Grants on the package containers of the second colour, where there is one.')
var greenGrants = [for app in apps: {
  app: app
  account: 'deploy'
  container: 'app-${app}-green'
  role: 'Storage Blob Data Contributor'
  why: 'The platform keeps and reads the package of the second colour of this app as the app itself.'
}]

@export()
@description('Grants on whole storage accounts that the platform needs: only on the one that holds nothing but the hosts\' own records.')
var accountGrants = [for app in apps: {
  app: app
  account: 'host'
  role: 'Storage Blob Data Owner'
  why: 'The Functions host keeps its locks, keys, timers and checkpoints here, in containers that it makes itself.'
}]

@export()
@description('Grants on Application Insights.')
var telemetryGrants = [for app in apps: {
  app: app
  role: 'Monitoring Metrics Publisher'
  why: 'Sends telemetry; without a role the component takes none.'
}]
