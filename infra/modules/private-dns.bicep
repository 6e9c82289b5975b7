metadata description = 'Private DNS: the names of the services lead to their endpoints, inside the network only.'

@description('Whether there is a private network; without it this file deploys nothing.')
param enabled bool

@description('Cloud: public, usgov or china.')
param cloud string

@description('Tags of every resource.')
param tags object

@description('Id of the network that asks these zones.')
param networkId string

// Service Bus and Event Hubs share a zone: both are called <name>.servicebus.windows.net.
var zonesByCloud = {
  public: {
    messaging: 'privatelink.servicebus.windows.net'
    vault: 'privatelink.vaultcore.azure.net'
    sites: 'privatelink.azurewebsites.net'
    events: 'privatelink.eventgrid.azure.net'
    monitor: 'privatelink.monitor.azure.com'
    oms: 'privatelink.oms.opinsights.azure.com'
    ods: 'privatelink.ods.opinsights.azure.com'
    agents: 'privatelink.agentsvc.azure-automation.net'
  }
  usgov: {
    messaging: 'privatelink.servicebus.usgovcloudapi.net'
    vault: 'privatelink.vaultcore.usgovcloudapi.net'
    sites: 'privatelink.azurewebsites.us'
    events: 'privatelink.eventgrid.azure.us'
    monitor: 'privatelink.monitor.azure.us'
    oms: 'privatelink.oms.opinsights.azure.us'
    ods: 'privatelink.ods.opinsights.azure.us'
    agents: 'privatelink.agentsvc.azure-automation.us'
  }
  china: {
    messaging: 'privatelink.servicebus.chinacloudapi.cn'
    vault: 'privatelink.vaultcore.azure.cn'
    sites: 'privatelink.chinacloudsites.cn'
    events: 'privatelink.eventgrid.azure.cn'
    monitor: 'privatelink.monitor.azure.cn'
    oms: 'privatelink.oms.opinsights.azure.cn'
    ods: 'privatelink.ods.opinsights.azure.cn'
    agents: 'privatelink.agentsvc.azure-automation.cn'
  }
}

var storageSuffix = environment().suffixes.storage
var zones = union(zonesByCloud[cloud], {
  blob: 'privatelink.blob.${storageSuffix}'
  table: 'privatelink.table.${storageSuffix}'
  dfs: 'privatelink.dfs.${storageSuffix}'
})

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = [for one in items(zones): if (enabled) {
  name: one.value
  location: 'global'
  tags: tags
}]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for one in items(zones): if (enabled) {
  name: '${one.value}/to-network'
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: networkId
    }
  }
  dependsOn: [
    zone
  ]
}]

@description('Name of a zone here → its id.')
output ids object = {
  blob: resourceId('Microsoft.Network/privateDnsZones', zones.blob)
  table: resourceId('Microsoft.Network/privateDnsZones', zones.table)
  dfs: resourceId('Microsoft.Network/privateDnsZones', zones.dfs)
  messaging: resourceId('Microsoft.Network/privateDnsZones', zones.messaging)
  vault: resourceId('Microsoft.Network/privateDnsZones', zones.vault)
  sites: resourceId('Microsoft.Network/privateDnsZones', zones.sites)
  events: resourceId('Microsoft.Network/privateDnsZones', zones.events)
  monitor: resourceId('Microsoft.Network/privateDnsZones', zones.monitor)
  oms: resourceId('Microsoft.Network/privateDnsZones', zones.oms)
  ods: resourceId('Microsoft.Network/privateDnsZones', zones.ods)
  agents: resourceId('Microsoft.Network/privateDnsZones', zones.agents)
}
