// A page of thumbnails: shows items, tells which was clicked and what was typed.

export function render({model}) {
  if (model.alone && !location.search && matchMedia('(prefers-color-scheme: dark)').matches)
    location.replace(location.pathname + '?theme=dark')
  const grid = document.createElement('div')
  grid.className = 'grid'
  const draw = () => {
    grid.style.setProperty('--side', model.side + 'px')
    grid.replaceChildren(...model.items.map(item => {
      const cell = document.createElement('button')
      cell.className = item.row === model.chosen ? 'cell chosen' : 'cell'
      cell.title = item.title
      cell.dataset.row = item.row
      const picture = document.createElement(item.src ? 'img' : 'div')
      picture.className = 'picture'
      if (item.src) { picture.src = item.src; picture.alt = item.title }
      else picture.textContent = 'no image'
      const note = document.createElement('span')
      note.textContent = item.note
      cell.append(picture, note)
      if (item.label) {
        const label = document.createElement('b')
        label.textContent = item.label
        cell.append(label)
      }
      cell.onclick = () => model.send_msg({row: item.row})
      return cell
    }))
  }
  const mark = () => {
    for (const cell of grid.children)
      cell.classList.toggle('chosen', Number(cell.dataset.row) === model.chosen)
  }
  const type = event => {
    const inside = event.composedPath()[0]
    if (event.ctrlKey || event.altKey || event.metaKey) return
    if (['INPUT', 'TEXTAREA', 'SELECT'].includes(inside.tagName) && inside.type !== 'button') return
    if (!/^([1-9u]|Backspace|ArrowLeft|ArrowRight|PageUp|PageDown)$/.test(event.key)) return
    event.preventDefault()
    model.send_msg({key: event.key, row: model.chosen})
  }
  if (model.typed) {
    document.addEventListener('keydown', type)
    model.on('remove', () => document.removeEventListener('keydown', type))
  }
  model.on('items', draw)
  model.on('chosen', mark)
  draw()
  return grid
}
